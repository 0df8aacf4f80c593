"""Rows of a contact file: what is read, what is a bad row, and what makes the whole file unreadable."""

import csv
import io
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.contacts.exports import EXPORTS
from shared.domain.contacts.fields import Field
from shared.domain.contacts.header import Layout, UnreadableFile
from shared.domain.contacts.rows import LINE_LENGTH, MAX_PUSH_TOKENS, MAX_TOPICS, Contact, Fault, read_contacts


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
        ("email,name", "a@example.com,An\0na", "not text in the file's encoding"),
        ("email,name", "a@example.com,J\udcfcrgen", "not text in the file's encoding"),
        ("email,name", ",Anna", "neither a user_id nor an address"),
    ],
)
def test_a_bad_row_says_what_is_wrong(header: str, row: str, telling: str) -> None:
    assert telling in reason(f"{header}\n{row}\n")


def test_what_was_lost_before_spoils_its_row() -> None:
    assert "not text" in reason("email,name\na@example.com,J\ufffdrgen\n")


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
        ("n\0a\0m\0e\0\n", "not text"),
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


_names = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cf"], exclude_characters="\0\ufffd"), max_size=20)


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


# What people's programs put into a file


def read_with(text: str, layout: Layout) -> list[Contact | Fault]:
    return list(read_contacts(io.StringIO(text, newline=""), layout))


@pytest.mark.parametrize(
    "cell",
    [
        "\u200b+12065550100",
        "\u202a+12065550100\u202c",
        "+1\u00a0206\u20115550100",
        "+1\u2009206\u2013555\u2212010\u20600",
        "'+12065550100",
        '="+12065550100"',
        "\ufeff+1 206 555 0100\u3000",
    ],
)
def test_a_number_is_freed_of_what_came_along_with_it(cell: str) -> None:
    quoted = cell.replace('"', '""')
    assert one(f'phone\n"{quoted}"\n').phone == "+12065550100"


def test_so_is_every_other_cell_and_the_header() -> None:
    contact = one(
        "\u200euser_id,e\u00admail,name,push_\u200btoken,topics\n"
        "\u200bu1\u200f,a\u200b@example.com,\u202aAnna\u202c,'t\u2060ok,'news\u200b\n"
    )
    assert contact == Contact(2, "u1", "Anna", "a@example.com", "", ("tok",), ("news",))


def test_a_name_keeps_its_joiners_and_its_apostrophe() -> None:
    assert one("user_id,name\nu1,'t Hooft\n").name == "'t Hooft"
    assert one("user_id,name\nu1,\U0001f469\u200d\U0001f4bb\n").name == "\U0001f469\u200d\U0001f4bb"


@pytest.mark.parametrize("first_line", ["sep=;\n", "SEP=;\r\n", "\ufeffsep=;\n"])
def test_a_line_that_names_the_delimiter_is_no_header(first_line: str) -> None:
    rows = read(f"{first_line}email;name\na@example.com;A, B\nbroken;C\n")
    assert isinstance(rows[0], Contact)
    assert [(row.line, getattr(row, "name", "")) for row in rows] == [(3, "A, B"), (4, "")]


def test_numbers_without_a_country_are_read_as_dialled_in_the_region() -> None:
    rows = read_with("phone\n0151 12345678\n0049 151 12345678\n+1 206 555 0100\n12\n", Layout(region="DE"))
    assert [row.phone for row in rows if isinstance(row, Contact)] == [
        "+4915112345678",
        "+4915112345678",
        "+12065550100",
    ]
    assert [row.line for row in rows if isinstance(row, Fault)] == [5]
    assert "With a region, as DE" in reason("phone\n0151 12345678\n")


@pytest.mark.parametrize("region", ["de", "XX", "D", ""])
def test_a_region_is_one_there_is(region: str) -> None:
    with pytest.raises(UnreadableFile, match="two letters"):
        Layout(region=region)


def test_unknown_columns_may_be_passed_over() -> None:
    (contact,) = read_with("Shoe size,email\n43,a@example.com\n", Layout(ignores_unknown=True))
    assert isinstance(contact, Contact)
    assert contact.email == "a@example.com"


def test_topics_of_the_whole_file_come_after_those_of_the_row() -> None:
    (contact,) = read_with("email,topics\na@example.com,own;all\n", Layout(topics=("all", "more")))
    assert isinstance(contact, Contact)
    assert contact.topics == ("own", "all", "more")
    with pytest.raises(UnreadableFile, match="no id of a topic"):
        Layout(topics=("no id",))


GOOGLE = (
    "First Name,Middle Name,Last Name,Phonetic First Name,Nickname,Organization Name,Labels,E-mail 1 - Label,"
    "E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value,Phone 1 - Label,Phone 1 - Value,Custom Field 1 - Value\n"
    "Anna,Maria,Smith,,,Acme,* myContacts ::: Friends,* Work,anna@example.com ::: a@example.org,Home,x@example.com,"
    "Mobile,+1 206-555-0100 ::: +1 206-555-0101,\n"
)
GOOGLE_BEFORE = (
    "Name,Given Name,Additional Name,Family Name,Group Membership,E-mail 1 - Type,E-mail 1 - Value,Phone 1 - Value\n"
    "Anna Smith,Anna,,Smith,* myContacts,* ,anna@example.com,+1 206-555-0100\n"
)
MAILCHIMP = (
    '"Email Address","First Name","Last Name",Address,"Phone Number",MEMBER_RATING,OPTIN_TIME,LEID,EUID,NOTES,TAGS\n'
    'anna@example.com,Anna,Smith,"1 Main St  Springfield",+12065550100,2,"2024-01-02 03:04:05",1,abc,,"""Customer"""\n'
)
OUTLOOK = (
    "Title,First Name,Last Name,Company,Business Phone,Mobile Phone,E-mail Address,E-mail 2 Address\n"
    ",Anna,Smith,Acme,+1 206 555 0199,+1 206 555 0100,anna@example.com,\n"
)


@pytest.mark.parametrize("text", [GOOGLE, GOOGLE_BEFORE, MAILCHIMP, OUTLOOK])
def test_what_other_programs_export_is_read_as_it_is(text: str) -> None:
    assert one(text) == Contact(2, "", "Anna Smith", "anna@example.com", "+12065550100", (), ())


def test_a_mapping_goes_before_what_is_known_of_an_export() -> None:
    (contact,) = read_with(GOOGLE, Layout(fields={"E-mail 2 - Value": "email", "E-mail 1 - Value": "ignore"}))
    assert isinstance(contact, Contact)
    assert contact.email == "x@example.com"


def test_no_export_is_taken_for_another() -> None:
    assert [[other for other in EXPORTS if other.marks <= {*export.marks}] for export in EXPORTS] == [
        [export] for export in EXPORTS
    ]


@pytest.mark.parametrize("column", ["UNSUB_TIME", "CLEAN_TIME"])
def test_who_opted_out_elsewhere_is_left_out(column: str) -> None:
    header = f"Email Address,First Name,Last Name,{column},LEID,EUID\n"
    rows = read(f"{header}a@example.com,A,,2024-01-02 03:04:05,1,x\nb@example.com,B,,,2,y\n")
    assert isinstance(rows[0], Fault)
    assert rows[0].reason == "Opted out: '2024-01-02 03:04:05'."
    assert isinstance(rows[1], Contact)
