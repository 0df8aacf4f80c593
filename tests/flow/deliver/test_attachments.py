"""Attachments from an upload to the provider, out of either storage; and a mail whose attachment is gone by then."""

import os
from email import message_from_string, policy

import pytest
import requests

from tests.flow.deliver.conftest import Desk
from tests.s3_server import Bucket

NOTE = b"Read this.\r\n"
PICTURE = b"\x89PNG\r\n\x1a\n" + os.urandom(20_000)

TO_POSTGRES = """
UPDATE file_chunks SET object_key = NULL, content = %s
FROM files JOIN buckets ON buckets.seq = bucket_seq
WHERE file_seq = files.seq AND files.id = 'note' AND buckets.id = %s
"""


@pytest.fixture
def files(desk: Desk) -> str:
    """The id of a bucket with a note in Postgres and a picture in object storage."""
    name = "files-" + os.urandom(4).hex()
    assert desk.call("POST", "/storage/buckets", {"bucketId": name, "name": "Files"}).status_code == 201
    factory = desk.installation.factory
    for file_id, content in (("note", NOTE), ("picture", PICTURE)):
        answer = requests.post(
            f"{desk.installation.endpoint}/storage/buckets/{name}/files",
            headers={"X-Appwrite-Project": factory.project_id, "X-Appwrite-Key": factory.key},
            data={"fileId": file_id},
            files={"file": (f"{file_id}.bin", content)},
            timeout=10,
        )
        assert answer.status_code == 201, answer.text
    desk.do(TO_POSTGRES, NOTE, name)
    return name


def create_mail(desk: Desk, topic: str, *named: str, draft: bool = False) -> str:
    """Its id."""
    message_id = f"mail-{topic}"[:36]
    body = {"messageId": message_id, "subject": "Files", "content": "Hello", "topics": [topic], "draft": draft}
    accepted = desk.call("POST", "/messaging/messages/email", {**body, "attachments": list(named)})
    assert accepted.status_code == 201, accepted.text
    return message_id


def run_of(desk: Desk, message_id: str) -> int:
    ((run,),) = desk.ask("SELECT run FROM messages WHERE id = %s", message_id)
    return int(run)


def test_attachments_arrive_with_every_copy(desk: Desk, files: str, bucket: Bucket) -> None:
    people = desk.people(3, channel="email")
    run = run_of(desk, create_mail(desk, people, f"{files}:note", f"{files}:picture"))

    assert desk.finish(run).sent == 3
    mails = desk.captured(people)
    assert len(mails) == 3
    for mail in mails:
        parsed = message_from_string(mail["raw"], policy=policy.default)
        attached = {part.get_filename(): part.get_payload(decode=True) for part in parsed.iter_attachments()}
        assert attached == {"note.bin": NOTE, "picture.bin": PICTURE}
    assert PICTURE in bucket.objects.values()
    assert NOTE not in [content for key, content in bucket.objects.items() if f"GET {key}" in bucket.requests]


def test_recipients_fail_with_the_reason_when_a_file_is_gone(desk: Desk, files: str) -> None:
    people = desk.people(2, channel="email")
    message_id = create_mail(desk, people, f"{files}:note", f"{files}:picture", draft=True)
    assert desk.call("DELETE", f"/storage/buckets/{files}/files/picture").status_code == 204
    assert desk.call("PATCH", f"/messaging/messages/email/{message_id}", {"draft": False}).status_code == 200
    run = run_of(desk, message_id)

    verdict = desk.finish(run)
    assert (verdict.sent, verdict.failed) == (0, 2)
    status, errors = desk.message(run)
    assert status == "failed"
    assert sorted(errors) == [
        f"Failed sending to target {people}{n}@example.com with error: the attachment {files}:picture is gone"
        for n in (1, 2)
    ]
    assert desk.captured(people) == []


def test_deleted_files_leave_the_object_storage(desk: Desk, files: str, bucket: Bucket) -> None:
    ((key,),) = desk.ask(
        "SELECT object_key FROM file_chunks JOIN files ON files.seq = file_seq JOIN buckets ON buckets.seq = bucket_seq"
        " WHERE buckets.id = %s AND files.id = 'picture' AND number = 0",
        files,
    )
    assert f"files/{key}" in bucket.objects
    assert desk.call("DELETE", f"/storage/buckets/{files}").status_code == 204
    desk.until("SELECT WHERE NOT EXISTS (SELECT FROM loose_objects WHERE key = %s)", key)
    assert f"files/{key}" not in bucket.objects
