"""Contract §8.3, step 6: files that messages name."""

from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests

from tests.integration.api.conftest import Caller
from tests.integration.api.test_storage import FILES, PNG, create_bucket, upload

MAIL = {"messageId": "m", "subject": "Hello", "content": "Hello", "draft": True}
PUSH = {"messageId": "m", "title": "Hello", "draft": True}


@pytest.fixture
def bucket(caller: Caller) -> Caller:
    """A caller with `photos:logo`, a PNG, and `photos:note`, a text; in a bucket that nobody may read."""
    create_bucket(caller, enabled=False)
    upload(caller, "logo")
    upload(caller, "note", b"hello", "note.png")
    return caller


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("email", {**MAIL, "attachments": ["no:logo"]}, (404, "storage_bucket_not_found")),
        ("email", {**MAIL, "attachments": ["photos:logo", "photos:no"]}, (404, "storage_file_not_found")),
        ("email", {**MAIL, "attachments": ["photos"]}, (400, "general_argument_invalid")),
        ("push", {**PUSH, "image": "no:logo"}, (404, "storage_bucket_not_found")),
        ("push", {**PUSH, "image": "photos:no"}, (404, "storage_file_not_found")),
        ("push", {**PUSH, "image": "photos:note"}, (400, "storage_file_type_unsupported")),
    ],
)
def test_files_that_cannot_be_sent(bucket: Caller, path: str, body: object, expected: tuple[int, str]) -> None:
    assert bucket.post(f"/messaging/messages/{path}", body).refusal == expected
    assert bucket.get("/messaging/messages").body["total"] == 0


def test_attachments_are_shown_as_bucket_and_file(bucket: Caller, stranger: Caller) -> None:
    named = ["photos:logo", "photos:note:more"]
    message = bucket.create("/messaging/messages/email", {**MAIL, "attachments": named})
    shown = [{"bucketId": "photos", "fileId": "logo"}, {"bucketId": "photos", "fileId": "note"}]
    assert message["data"]["attachments"] == shown
    changed = bucket.patch("/messaging/messages/email/m", {"subject": "Hi"})
    assert (changed.status, changed.body["data"]["attachments"]) == (200, shown)
    changed = bucket.patch("/messaging/messages/email/m", {"attachments": ["photos:note"]})
    assert changed.body["data"]["attachments"] == shown[1:]
    assert bucket.patch("/messaging/messages/email/m", {"attachments": ["photos:no"]}).type == "storage_file_not_found"
    assert bucket.patch("/messaging/messages/email/m", {"attachments": []}).body["data"]["attachments"] == []
    answer = stranger.post("/messaging/messages/email", {**MAIL, "attachments": ["photos:logo"]})
    assert answer.refusal == (404, "storage_bucket_not_found")


def claims_of(url: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(url.rpartition("jwt=")[2], options={"verify_signature": False})
    return claims


def test_a_push_image_is_fetched_without_any_header(bucket: Caller, stranger: Caller) -> None:
    later = "2100-01-01T00:00:00.000+00:00"
    message = bucket.create("/messaging/messages/push", {**PUSH, "image": "photos:logo", "scheduledAt": later})
    image = message["data"]["image"]
    assert (image["bucketId"], image["fileId"]) == ("photos", "logo")
    answer = requests.get(image["url"], timeout=10)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PNG, "image/png")
    assert claims_of(image["url"])["exp"] == 4102444800 + 15 * 86400, "15 days after it is sent"
    moved = bucket.patch("/messaging/messages/push/m", {"draft": True, "scheduledAt": "2101-01-01T00:00Z"})
    assert claims_of(moved.body["data"]["image"]["url"])["exp"] == 4133980800 + 15 * 86400

    other = image["url"].replace("/files/logo/", "/files/note/")
    foreign = image["url"].replace(bucket.project_id, stranger.project_id)
    nameless = image["url"].partition("&jwt=")[0]
    user_token = bucket.create_user("ada") and bucket.create("/users/ada/jwts", {})["jwt"]
    for url in (other, foreign, nameless, f"{nameless}&jwt={user_token}"):
        refused = requests.get(url, timeout=10)
        assert (refused.status_code, refused.json()["type"]) == (401, "user_unauthorized"), url
    bucket.delete(f"{FILES}/logo")
    assert requests.get(image["url"], timeout=10).status_code == 404
    assert urlsplit(image["url"]).path.startswith("/v1/storage/")
