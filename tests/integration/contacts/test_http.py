"""Contact files over HTTP."""

import hashlib
from collections.abc import Iterator

import pytest

from shared.settings import Settings
from tests.factories import ALL_SCOPES
from tests.integration.api.conftest import Caller, make_caller, run_api
from tests.integration.contacts.conftest import people

IMPORTS = "/tidings/imports"


@pytest.fixture
def caller(settings: Settings) -> Iterator[Caller]:
    """The API of this test, whose JSON bodies may have a thousand bytes."""
    with run_api(settings.model_copy(update={"port": 0, "max_body_bytes": 1_000, "key_cache_seconds": 0})) as running:
        caller = make_caller(running)
        with caller.session:
            yield caller


def file_of(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_a_file_is_imported_and_its_faults_are_listed(caller: Caller) -> None:
    content = file_of(*people(range(200)), "nobody,Nobody,person1@example.com,,news")
    assert len(content) > 1_000  # files have a limit of their own

    done = caller("POST", f"{IMPORTS}?fileName=people.csv", data=content)

    assert done.status == 201
    assert done.body == {
        "$id": done.body["$id"],
        "state": "finished",
        "rows": 201,
        "badRows": 1,
        "faultsNotKept": 0,
        "usersCreated": 200,
        "usersUpdated": 0,
        "topicsCreated": 1,
        "targetsCreated": 400,
        "subscriptionsCreated": 400,
        "stagedTo": 202,
        "mergedTo": 202,
        "isRepeated": False,
    }
    assert caller.get(f"{IMPORTS}/{done.body['$id']}").body == done.body
    (fault,) = caller.get(f"{IMPORTS}/{done.body['$id']}/faults").body["faults"]
    assert fault["line"] == 202
    assert "person1@example.com" in fault["reason"]
    assert caller.get(f"{IMPORTS}/{done.body['$id']}/faults?afterLine=202").body == {"faults": []}
    assert caller.get("/messaging/topics/news").body["emailTotal"] == 200
    assert caller.rows("SELECT file_name FROM contact_imports") == [("people.csv",)]


def test_the_same_file_again_is_the_same_import(caller: Caller) -> None:
    content = file_of(*people(range(3)))
    first = caller("POST", IMPORTS, data=content)
    again = caller("POST", IMPORTS, data=content)
    assert again.body["$id"] == first.body["$id"]
    assert (again.body["isRepeated"], again.body["usersCreated"]) == (True, 0)


def test_how_a_file_is_read_is_said_in_the_query(caller: Caller) -> None:
    query = "fields[E-Mail]=email&fields[Note]=ignore&delimiter=:&createTopics=false"
    done = caller(
        "POST", f"{IMPORTS}?{query}", data=file_of("E-Mail:Note:topics", "a@example.com:x:", "b@example.com::no")
    )
    assert (done.status, done.body["rows"], done.body["badRows"]) == (201, 2, 1)
    assert caller.rows("SELECT identifier FROM targets") == [("a@example.com",)]


def test_so_are_its_encoding_its_region_and_topics_for_all_of_it(caller: Caller) -> None:
    query = "encoding=windows-1251&region=RU&ignoreUnknown=true&topics[]=all&topics[]=more"
    content = "email,phone,name,Город\na@example.com,8 912 345-67-89,Анна,Пермь\n".encode("windows-1251")
    done = caller("POST", f"{IMPORTS}?{query}", data=content)
    assert (done.status, done.body["badRows"], done.body["subscriptionsCreated"]) == (201, 0, 4)
    assert caller.rows("SELECT name, phone FROM users") == [("Анна", "+79123456789")]


@pytest.mark.parametrize("query", ["encoding=idna", "region=XX", "region=Russia", "topics[]=no+id", "topics=all,more"])
def test_a_wrong_way_of_reading_is_refused(caller: Caller, query: str) -> None:
    assert caller("POST", f"{IMPORTS}?{query}", data=file_of("email", "a@example.com")).refusal == (
        400,
        "general_argument_invalid",
    )


@pytest.mark.parametrize("content", [b"", b"who,what\n", b'email,name\na@example.com,"Anna\n'])
def test_what_is_no_contact_file_is_refused_whole(caller: Caller, content: bytes) -> None:
    assert caller("POST", IMPORTS, data=content).refusal == (400, "general_argument_invalid")
    assert caller.rows("SELECT id FROM contact_imports") == []


@pytest.mark.parametrize("query", ["delimiter=::", "fields[E-Mail]=mail", "createTopics=perhaps"])
def test_a_wrong_parameter_is_refused(caller: Caller, query: str) -> None:
    refused = caller("POST", f"{IMPORTS}?{query}", data=file_of("email", "a@example.com"))
    assert refused.refusal == (400, "general_argument_invalid")


@pytest.mark.parametrize("scope", ["users.write", "topics.write", "subscribers.write"])
def test_an_import_takes_the_scopes_of_all_it_writes(caller: Caller, scope: str) -> None:
    secret = f"standard_{scope}"
    with caller.factory.connect() as connection:
        connection.execute(
            "INSERT INTO api_keys (project_seq, id, name, secret_hash, scopes) VALUES (%s, %s, 'Test', %s, %s)",
            [
                caller.factory.project_seq,
                scope,
                hashlib.sha256(secret.encode()).digest(),
                [each for each in ALL_SCOPES if each != scope],
            ],
        )
    refused = caller("POST", IMPORTS, data=file_of("email", "a@example.com"), headers={"X-Appwrite-Key": secret})
    assert refused.refusal == (401, "general_unauthorized_scope")


def test_imports_of_another_project_are_not_found(caller: Caller) -> None:
    done = caller("POST", IMPORTS, data=file_of("email", "a@example.com"))
    with caller.factory.connect() as connection:
        connection.execute("INSERT INTO projects (id, name) VALUES ('other', 'Other')")
        connection.execute("UPDATE contact_imports SET project_seq = (SELECT seq FROM projects WHERE id = 'other')")
    for path in ("", "/faults"):
        assert caller.get(f"{IMPORTS}/{done.body['$id']}{path}").refusal == (404, "import_not_found")
