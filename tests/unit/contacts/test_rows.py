"""Rows of a contact file: what is read, what is a bad row, and what makes the whole file unreadable."""

import csv
import io
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.contacts.rows import (
    LINE_LENGTH,
    MAX_PUSH_TOKENS,
    MAX_TOPICS,
    Contact,
    Fault,
    Field,
    Layout,
    UnreadableFile,
    read_contacts,
)


def read(
    text: str, *, delimiter: str | None = None, fields: Mapping[str, Field] | None = None, after_line: int = 0
) -> list[Contact | Fault]:
    lines = io.StringIO(text, newline="")
    return list(read_contacts(lines, Layout(delimiter, fields or {}), after_line=after_line))


def one(text: str, **options: str) -> Contact:
    (row,) = read(text, **options)  # type: ignore[arg-type]
    assert isinstance(row, Contact)
    return row


def reason(text: str) -> str:
    (row,) = read(text)
    assert isinstance(row, Fault)
    return row.reason


def test_a_row_with_everything() -> None:
    row = one(
        "user_id,name,email,phone,push_token,push_token_2,topics\n"
        "u1, Anna Smith ,Anna@Example.com,+49 170 1234567,first,second,news; sport;;news\n"
    )
    assert row == Contact(
        line=2,
        user_id="u1",
        name="Anna Smith",
        email="anna@example.com",
        phone="+491701234567",
        push_tokens=("first", "second"),
        topics=("news", "sport"),
    )


def test_a_phone_has_one_form_however_it_is_written() -> None:
    rows = read("name,phone\nAnna,+44 20 7183 8750\nBob,+44 (0)20-7183-8750\n")
    assert [row.phone for row in rows if isinstance(row, Contact)] == ["+442071838750"] * 2


def test_columns_are_known_by_common_spellings() -> None:
    row = one("User ID;NAME;E-Mail-Address;push-token 3\nu1;Anna;a@example.com;t\n".replace("E-Mail-Address", "Email"))
    assert (row.user_id, row.name, row.email, row.push_tokens) == ("u1", "Anna", "a@example.com", ("t",))


def test_columns_of_other_names_are_mapped_or_ignored() -> None:
    rows = read(
        "Kunde,E-Mail,Notiz\nu1,a@example.com,seen\n", fields={"E-Mail": "email", "Notiz": "ignore", "Kunde": "user_id"}
    )
    assert [(row.user_id, row.email) for row in rows if isinstance(row, Contact)] == [("u1", "a@example.com")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_guessed(delimiter: str) -> None:
    row = one(delimiter.join(["name", "email"]) + "\n" + delimiter.join(["Anna", "a@example.com"]) + "\n")
    assert (row.name, row.email) == ("Anna", "a@example.com")


def test_the_delimiter_may_be_given() -> None:
    assert one("name:email\nAnna:a@example.com\n", delimiter=":").name == "Anna"


def test_a_row_is_known_by_the_line_it_begins_at() -> None:
    rows = read('name,email\r\n"Anna\r\nSmith",a@example.com\r\n\r\nBob,broken\r\nCarl,c@example.com')
    assert [(type(row), row.line) for row in rows] == [(Contact, 2), (Fault, 5), (Contact, 6)]


def test_reading_goes_on_after_a_line() -> None:
    text = 'name,email\n"An\nna",a@example.com\nBob,b@example.com\nCarl,c@example.com\n'
    assert [row.line for row in read(text, after_line=2)] == [4, 5]


@pytest.mark.parametrize(
    ("header", "row", "telling"),
    [
        ("email", "broken@", "email 'broken@'"),
        ("phone", "12345", "phone '12345'"),
        ("phone", "+1 206 555 010", "too short or too long"),
        ("phone", "+1-800-FLOWERS", "7 to 15 digits"),
        ("user_id", "-u1", "user_id '-u1'"),
        ("user_id", "u" * 37, "1 to 36 characters"),
        ("user_id,name", f"u1,{'n' * 129}", "at most 128"),
        ("push_token", "t" * 256, "at most 255"),
        ("email,topics", "a@example.com,news;so so", "topics 'so so'"),
        ("email,name", "a@example.com,Anna,more", "3 cells, the header 2"),
        ("email,name", "a@example.com", "1 cells, the header 2"),
        ("email,name", "a@example.com,An\0na", "not UTF-8"),
        ("email,name", "a@example.com,J\udcfcrgen", "not UTF-8"),
        ("email,name", ",Anna", "neither a user_id nor an address"),
    ],
)
def test_a_bad_row_says_what_is_wrong(header: str, row: str, telling: str) -> None:
    assert telling in reason(f"{header}\n{row}\n")


def test_a_bad_row_says_everything_that_is_wrong() -> None:
    said = reason("email,phone,topics\nbroken,123,so so\n")
    assert all(cell in said for cell in ("'broken'", "'123'", "'so so'"))


def test_a_row_about_a_user_needs_no_address() -> None:
    assert one("user_id,name\nu1,Anna\n").name == "Anna"


@pytest.mark.parametrize(
    ("text", "telling"),
    [
        ("", "no header"),
        ("\n\nname,email\n", "no header"),
        ("anna@example.com,Anna\n", "unknown columns: 'anna@example.com'"),
        ("email,e_mail\n", "unknown columns: 'e_mail'"),
        ("email,Email\n", "2 columns for email"),
        ("name,topics\n", "neither user_id nor email"),
        ("n\0a\0m\0e\0\n", "not UTF-8"),
        ('email,name\na@example.com,"Anna\nb@example.com,Bob\n', "Line 2 is not valid CSV: a quote .* never closed"),
        ('email,name\n\na@example.com,"Anna\n' + "b@example.com,Bob\n" * 10_000, "Line 3 .* never closed"),
        ("email,name\na@example.com," + "," * LINE_LENGTH, "Line 2 .* more than 1,000,000 characters"),
        ("email,name\na@example.com" + ',"\n"' * LINE_LENGTH, "Line 2 .* more than 1,000,000 characters"),
        ("email," * LINE_LENGTH, "Line 1 .* more than 1,000,000 characters"),
        ('email,name\na@example.com,"An"na\n', "Line 2 is not valid CSV"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(text: str, telling: str) -> None:
    with pytest.raises(UnreadableFile, match=telling):
        read(text)


def test_the_length_of_a_file_is_not_that_of_a_row() -> None:
    row = "u1" + ",token" * 1_000 + "\n"
    header = "user_id" + ",push_token" * 1_000 + "\n"
    rows = read(header + row * (LINE_LENGTH // len(row) + 1))
    assert {type(each) for each in rows} == {Contact}


def test_a_mapped_column_must_be_there() -> None:
    with pytest.raises(UnreadableFile, match="no column 'Mail'"):
        read("email\n", fields={"Mail": "email"})


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n"])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    with pytest.raises(UnreadableFile, match="one character"):
        list(read_contacts(iter(["email,name\n"]), Layout(delimiter or "::")))


_names = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(names=st.lists(_names, max_size=20), line_end=st.sampled_from(["\n", "\r\n"]))
def test_whatever_stands_in_a_quoted_cell_comes_back(names: list[str], line_end: str) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([["user_id", "name"], *([f"u{number}", name] for number, name in enumerate(names))])

    rows = read(file.getvalue())

    assert [(row.user_id, row.name) for row in rows if isinstance(row, Contact)] == [
        (f"u{number}", name.strip()) for number, name in enumerate(names)
    ]


@pytest.mark.parametrize(
    ("tokens", "topics", "words"),
    [(MAX_PUSH_TOKENS + 1, 1, "51 push tokens"), (1, MAX_TOPICS + 1, "101 topics")],
)
def test_a_row_of_too_many_tokens_or_topics_is_a_bad_row(tokens: int, topics: int, words: str) -> None:
    header = ",".join(["push_token"] * tokens)
    row = ",".join(f"t{number}" for number in range(tokens))
    assert words in reason(f"{header},topics\n{row},{';'.join(f'n{number}' for number in range(topics))}\n")


def test_a_row_may_have_as_many_as_are_taken() -> None:
    header = ",".join(["push_token"] * MAX_PUSH_TOKENS)
    row = ",".join(f"t{number}" for number in range(MAX_PUSH_TOKENS))
    taken = one(f"{header},topics\n{row},{';'.join(f'n{number}' for number in range(MAX_TOPICS))}\n")
    assert (len(taken.push_tokens), len(taken.topics)) == (MAX_PUSH_TOKENS, MAX_TOPICS)


def test_of_many_faults_of_a_row_a_few_are_told() -> None:
    told = reason(f"email,topics\na@example.com,{';'.join(['-'] * 10_000)}\n")
    assert len(told) < 1_000
    assert told.endswith("There are 9995 more.")


def test_of_many_unknown_columns_a_few_are_named() -> None:
    with pytest.raises(UnreadableFile) as refused:
        read(",".join(f"column {number}" for number in range(10_000)) + "\n")
    assert len(str(refused.value)) < 1_000
