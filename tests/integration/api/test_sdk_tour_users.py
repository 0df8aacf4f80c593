"""The official SDK, unmodified, through accounts, storage and documents: its models take what is answered."""

import os

import pytest
from appwrite.client import Client
from appwrite.exception import AppwriteException
from appwrite.id import ID
from appwrite.input_file import InputFile
from appwrite.permission import Permission
from appwrite.role import Role
from appwrite.services.account import Account
from appwrite.services.databases import Databases
from appwrite.services.messaging import Messaging
from appwrite.services.storage import Storage
from appwrite.services.users import Users

from tests.integration.api.conftest import Caller


@pytest.fixture
def client(caller: Caller) -> Client:
    return Client().set_endpoint(caller.endpoint).set_project(caller.project_id).set_key(caller.key)


def visitor(caller: Caller) -> Client:
    """Nobody yet."""
    return Client().set_endpoint(caller.endpoint).set_project(caller.project_id)


def test_a_user_signs_up_logs_in_and_subscribes(caller: Caller, client: Client) -> None:
    ada = Account(visitor(caller)).create("ada", "ada@example.com", "engine-no-1", "Ada")
    assert ada.targets[0].identifier == "ada@example.com"
    assert Account(visitor(caller)).create_email_password_session("ada@example.com", "engine-no-1").userid == "ada"
    with pytest.raises(AppwriteException) as refused:
        Account(visitor(caller)).get()
    assert refused.value.type == "general_unauthorized_scope"

    session = Users(client).create_session("ada")
    by_session = visitor(caller).set_session(session.secret)
    assert Account(by_session).get().name == "Ada"
    token = Users(client).create_jwt("ada", session_id=session.id).jwt
    by_token = visitor(caller).set_jwt(token)
    Messaging(client).create_topic("news", "News", subscribe=["users"])
    subscriber = Messaging(by_token).create_subscriber("news", ID.unique(), ada.targets[0].id)
    assert subscriber.username == "Ada"
    Messaging(by_session).delete_subscriber("news", subscriber.id)
    Account(by_session).delete_session("current")
    with pytest.raises(AppwriteException):
        Account(by_session).get()


def test_storage(caller: Caller, client: Client) -> None:
    storage = Storage(client)
    bucket = storage.create_bucket(ID.unique(), "Photos", permissions=[Permission.read(Role.any())])
    assert storage.update_bucket(bucket.id, "Pictures", file_security=True).name == "Pictures"
    large = os.urandom(3 * 5 * 1024 * 1024 + 7)
    file = storage.create_file(bucket.id, ID.unique(), InputFile.from_bytes(large, "large.bin"))
    assert (file.chunksuploaded, file.sizeoriginal) == (4, len(large))
    assert storage.get_file_download(bucket.id, file.id) == large
    small = storage.create_file(
        bucket.id, "note", InputFile.from_bytes(b"hello", "note.txt"), [Permission.read(Role.users())]
    )
    assert (small.mimetype, small.permissions) == ("text/plain", ['read("users")'])
    assert storage.update_file(bucket.id, "note", name="renamed.txt").name == "renamed.txt"
    assert storage.list_files(bucket.id).total == 2
    assert Storage(visitor(caller)).get_file_view(bucket.id, "note") == b"hello"
    mail = Messaging(client).create_email(ID.unique(), "Hello", "There", attachments=[f"{bucket.id}:note"], draft=True)
    assert mail.data["attachments"] == [{"bucketId": bucket.id, "fileId": "note"}]
    storage.delete_file(bucket.id, "note")
    storage.delete_bucket(bucket.id)
    assert storage.list_buckets().total == 0


def test_documents(client: Client) -> None:
    databases = Databases(client)
    title = {"key": "title", "type": "string", "size": 100, "required": True}
    replaced = "tablesDB"  # the SDK warns of its newer calls; the contract has these
    with pytest.warns(DeprecationWarning, match=replaced):
        databases.create("main", "Main")
    with pytest.warns(DeprecationWarning, match=replaced):
        collection = databases.create_collection("main", "notes", "Notes", attributes=[title])
    with pytest.warns(DeprecationWarning, match=replaced):
        document = databases.create_document("main", "notes", ID.unique(), {"title": "Hello"})
    assert collection.databaseid == "main"
    assert (document.collectionid, document.data["title"]) == ("notes", "Hello")
