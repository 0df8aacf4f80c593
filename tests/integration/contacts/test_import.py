"""What a contact file leaves in the database, the first time and again."""

import tracemalloc

import pytest

from shared.domain.contacts.header import UnreadableFile
from shared.domain.contacts.plan import derive_id
from shared.domain.contacts.progress import ImportProgress, ImportState
from tests.integration.contacts.conftest import LEFT_BEHIND, SUBSCRIPTIONS, TARGETS, USERS, Desk, people


async def test_a_file_becomes_users_targets_topics_and_subscriptions(desk: Desk) -> None:
    done = await desk.bring_in(
        desk.file(
            "user_id,name,email,phone,push_token,topics",
            "anna,Anna,Anna@example.com,+49 170 1234567,token-a,news;sport",
            "bob,Bob,bob@example.com,,,news",
        )
    )

    assert desk.ask(USERS) == [
        ("anna", "Anna", "anna@example.com", "+491701234567"),
        ("bob", "Bob", "bob@example.com", ""),
    ]
    assert [row[:3] for row in desk.ask(TARGETS)] == [
        ("anna", "sms", "+491701234567"),
        ("anna", "email", "anna@example.com"),
        ("bob", "email", "bob@example.com"),
        ("anna", "push", "token-a"),
    ]
    assert desk.ask("SELECT id, email_total, sms_total, push_total FROM topics ORDER BY id") == [
        ("news", 2, 1, 1),
        ("sport", 1, 1, 1),
    ]
    assert len(desk.ask(SUBSCRIPTIONS)) == 7
    assert (done.state, done.rows_total, done.bad_total) == (ImportState.FINISHED, 2, 0)
    assert (done.users_created, done.topics_created) == (2, 2)
    assert (done.targets_created, done.subscriptions_created) == (4, 7)
    assert desk.ask(LEFT_BEHIND) == []


async def test_target_ids_follow_from_the_address(desk: Desk) -> None:
    await desk.bring_in(desk.file("email", "anna@example.com"))
    assert desk.ask("SELECT id FROM targets") == [(derive_id("acme", "target", "anna@example.com"),)]
    assert desk.ask("SELECT id FROM users") == [(derive_id("acme", "user", "anna@example.com"),)]


async def test_a_file_imported_again_changes_nothing(desk: Desk) -> None:
    file = desk.file(*people(range(20)))
    first = await desk.bring_in(file, page_rows=7)
    holdings, touched = (
        desk.holdings(),
        desk.ask("SELECT xmin::text FROM targets UNION ALL SELECT xmin::text FROM users"),
    )

    again = await desk.bring_in(file, page_rows=7)

    assert desk.holdings() == holdings
    assert desk.ask("SELECT xmin::text FROM targets UNION ALL SELECT xmin::text FROM users") == touched
    assert (first.is_repeated, again.is_repeated) == (False, True)
    assert (again.rows_total, again.users_created, again.users_updated) == (20, 0, 0)
    assert (again.targets_created, again.subscriptions_created, again.topics_created) == (0, 0, 0)


async def test_what_was_deleted_since_comes_back(desk: Desk) -> None:
    file = desk.file(*people(range(5)))
    await desk.bring_in(file)
    holdings = desk.holdings()
    with desk.factory.connect() as connection:
        connection.execute("DELETE FROM users WHERE id = 'user-3'")
        connection.execute("UPDATE topics SET email_total = email_total - 1, push_total = push_total - 1")

    again = await desk.bring_in(file)

    assert desk.holdings() == holdings
    assert (again.users_created, again.targets_created, again.subscriptions_created) == (1, 2, 2)


async def test_a_known_user_keeps_what_it_has_and_takes_the_name(desk: Desk) -> None:
    await desk.bring_in(desk.file("user_id,name,email", "anna,Anna,anna@example.com", "bob,Bob,bob@example.com"))
    done = await desk.bring_in(
        desk.file("user_id,name,email,phone", "anna,Anna Smith,anna2@example.com,+491701234567", "bob,,,")
    )
    assert desk.ask(USERS) == [
        ("anna", "Anna Smith", "anna@example.com", "+491701234567"),
        ("bob", "Bob", "bob@example.com", ""),
    ]
    assert [row[2] for row in desk.ask(TARGETS)] == [
        "+491701234567",
        "anna2@example.com",
        "anna@example.com",
        "bob@example.com",
    ]
    assert (done.users_created, done.users_updated) == (0, 1)


async def test_bad_rows_are_told_with_line_and_reason_and_leave_nothing(desk: Desk) -> None:
    file = desk.file(
        "user_id,email,push_token,topics",
        "anna,anna@example.com,,news",
        "bob,broken@,token-b,news",
        "carl,anna@example.com,token-c,other",
        "dora,dora@example.com,,news",
    )
    done = await desk.bring_in(file)

    faults = await desk.faults(done)
    assert list(faults) == [3, 4]
    assert "'broken@'" in faults[3]
    assert "belongs to another user, 'anna'" in faults[4]
    assert (done.rows_total, done.bad_total) == (4, 2)
    assert [user[0] for user in desk.ask(USERS)] == ["anna", "dora"]
    assert [row[1] for row in desk.ask(SUBSCRIPTIONS)] == ["anna@example.com", "dora@example.com"]
    assert desk.ask("SELECT id FROM topics") == [("news",)]


async def test_the_faults_are_those_of_the_last_pass(desk: Desk) -> None:
    file = desk.file("user_id,email", "anna,anna@example.com", "bob,anna@example.com", "carl,broken@")
    await desk.bring_in(file)
    with desk.factory.connect() as connection:
        connection.execute("DELETE FROM users")
        connection.execute(
            "INSERT INTO users (project_seq, id, email) VALUES (%s, 'bob', 'anna@example.com')",
            [desk.factory.project_seq],
        )
    faults = await desk.faults(await desk.bring_in(file))
    assert {line: reason[:20] for line, reason in faults.items()} == {
        2: "email 'anna@example.",
        4: "email 'broken@': The",
    }


async def test_bytes_that_are_no_text_spoil_their_row_only(desk: Desk) -> None:
    file = desk.file("name,email")
    file.path.write_bytes(
        b"\xef\xbb\xbfname,email\r\nJ\xfcrgen,j@example.com\r\nZo\xc3\xab,zoe@example.com\r\n"  # Latin-1, then UTF-8
    )
    done = await desk.bring_in(file)
    assert [user[1] for user in desk.ask(USERS)] == ["Zoë"]
    assert await desk.faults(done) == {2: "The row is not text in the file's encoding."}


@pytest.mark.parametrize("encoding", ["utf-16", "windows-1252"])
async def test_a_file_in_another_encoding_is_read_in_it(desk: Desk, encoding: str) -> None:
    file = desk.file("name,email")
    file.path.write_text("name,email\nJürgen,j@example.com\nZoë,zoe@example.com\n", encoding=encoding)
    assert await desk.faults(await desk.bring_in(file, page_rows=1)) == {}
    assert {user[1] for user in desk.ask(USERS)} == {"Jürgen", "Zoë"}


async def test_a_file_without_line_ends_is_not_read_into_memory(desk: Desk) -> None:
    file = desk.file("email,name", "x," * 10_000_000)
    tracemalloc.start()
    with pytest.raises(UnreadableFile, match=r"Line 2 .* more than 1,000,000 characters"):
        await desk.bring_in(file)
    _now, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < file.path.stat().st_size / 2
    assert desk.ask("SELECT id FROM contact_imports") == []


async def test_unknown_topics_may_be_refused(desk: Desk) -> None:
    desk.factory.topic("news")
    file = desk.file("email,topics", "a@example.com,news", "b@example.com,news;old", creates_topics=False)
    done = await desk.bring_in(file)
    assert await desk.faults(done) == {3: "The topic 'old' does not exist."}
    assert desk.ask(SUBSCRIPTIONS) == [("news", "a@example.com", "email")]
    assert done.topics_created == 0


async def test_a_deleted_topic_is_no_topic(desk: Desk) -> None:
    await desk.bring_in(desk.file(*people(range(3))))
    with desk.factory.connect() as connection:
        connection.execute("UPDATE topics SET deleted_at = now() WHERE id = 'news'")
    again = await desk.bring_in(desk.file(*people(range(3))))
    assert (again.topics_created, again.subscriptions_created) == (1, 6)
    assert desk.ask("SELECT email_total FROM topics WHERE deleted_at IS NULL") == [(3,)]


async def test_without_user_id_an_address_finds_its_user(desk: Desk) -> None:
    desk.factory.audience(1, channel="email")  # user person-1 with person1@example.com
    done = await desk.bring_in(desk.file("name,email,push_token", "Anna,person1@example.com,token-1"))
    assert desk.ask(USERS) == [("person-1", "Anna", "person1@example.com", "")]
    assert [row[:3] for row in desk.ask(TARGETS)] == [
        ("person-1", "email", "person1@example.com"),
        ("person-1", "push", "token-1"),
    ]
    assert (done.users_created, done.users_updated) == (0, 1)


async def test_a_derived_id_that_is_taken_is_replaced(desk: Desk) -> None:
    await desk.bring_in(desk.file("user_id,email", "anna,anna@example.com"))
    with desk.factory.connect() as connection:
        connection.execute("UPDATE targets SET identifier = 'new@example.com'")
    await desk.bring_in(desk.file("user_id,email", "anna,anna@example.com"))
    assert [row[2] for row in desk.ask(TARGETS)] == ["anna@example.com", "new@example.com"]


async def test_the_email_of_another_users_row_stays_there(desk: Desk) -> None:
    # the wire contract lets a user be created with an address that is another user's target
    await desk.bring_in(desk.file("user_id,push_token", "anna,token-a"))
    with desk.factory.connect() as connection:
        connection.execute(
            "INSERT INTO targets (project_seq, id, user_seq, channel, identifier)"
            " SELECT project_seq, 't', seq, 'email', 'shared@example.com' FROM users"
        )
        connection.execute(
            "INSERT INTO users (project_seq, id, email) VALUES (%s, 'bob', 'shared@example.com')",
            [desk.factory.project_seq],
        )
    done = await desk.bring_in(desk.file("user_id,email", "anna,shared@example.com"))
    assert desk.ask(USERS) == [("anna", "", "", ""), ("bob", "", "shared@example.com", "")]
    assert done.bad_total == 0


async def test_projects_do_not_meet(desk: Desk) -> None:
    with desk.factory.connect() as connection:
        connection.execute("INSERT INTO projects (id, name) VALUES ('other', 'Other')")
        connection.execute(
            "INSERT INTO users (project_seq, id, email)"
            " SELECT seq, 'anna', 'a@example.com' FROM projects WHERE id = 'other'"
        )
        connection.execute(
            "INSERT INTO targets (project_seq, id, user_seq, channel, identifier)"
            " SELECT project_seq, 't', seq, 'email', 'a@example.com' FROM users"
        )
    done = await desk.bring_in(desk.file("user_id,email,topics", "bob,a@example.com,news"))
    assert (done.bad_total, done.users_created, done.targets_created) == (0, 1, 1)


async def test_a_page_is_cut_where_it_would_write_too_much(desk: Desk) -> None:
    """Ten rows of fifty tokens and a hundred topics each: more than half a page holds."""
    header = ",".join(["push_token"] * 50)
    topics = ";".join(f"topic-{number}" for number in range(100))
    rows = [",".join(f"token-{row}-{number}" for number in range(50)) for row in range(10)]
    merged_to: list[int] = []

    def watch(progress: ImportProgress, _read_bytes: int) -> None:
        merged_to.append(progress.merged_to)

    done = await desk.bring_in(desk.file(f"{header},topics", *(f"{row},{topics}" for row in rows)), report=watch)
    assert (done.bad_total, done.subscriptions_created) == (0, 10 * 50 * 100)
    assert len([line for line in dict.fromkeys(merged_to) if line]) == 4
    assert desk.ask(LEFT_BEHIND) == []


async def test_a_row_with_too_much_is_left_out_and_told(desk: Desk) -> None:
    header = ",".join(["push_token"] * 300)
    many = ",".join(f"token-{number}" for number in range(300))
    few = "phone" + "," * 299
    topics = ";".join(f"topic-{number}" for number in range(300))
    file = desk.file(f"{header},topics", f"{many},{topics}", f"{few},news")
    done, again = await desk.bring_in(file), await desk.bring_in(file)
    assert (done.bad_total, done.subscriptions_created) == (1, 1)
    assert "300 push tokens" in (await desk.faults(done))[2]
    assert (again.state, again.bad_total) == (ImportState.FINISHED, 1)
