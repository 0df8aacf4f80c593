"""Contract §16: buckets, files, chunks, ranges and permissions, with files in Postgres and in object storage."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from shared.db.queries.chunks import CHUNK_BYTES
from tests.integration.api.conftest import Answer, Caller, RunningApi, make_caller
from tests.integration.api.logins import as_guest, log_in

FILES = "/storage/buckets/photos/files"
PLACES = """
SELECT CASE WHEN object_key IS NULL THEN 'postgres' ELSE 's3' END FROM file_chunks JOIN files ON files.seq = file_seq
WHERE project_seq = %(project)s
"""
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture(params=["postgres", "s3"])
def caller(request: pytest.FixtureRequest, running_api: RunningApi) -> Iterator[Caller]:
    """Each test runs against both."""
    caller = make_caller(running_api if request.param == "postgres" else request.getfixturevalue("api_with_objects"))
    with caller.session:
        yield caller
        places = {place for (place,) in caller.rows(PLACES)}
        assert places <= {request.param}


def create_bucket(caller: Caller, bucket_id: str = "photos", **parameters: object) -> Any:
    return caller.create("/storage/buckets", {"bucketId": bucket_id, "name": "Photos", **parameters})


def form_of(file_id: str, content: bytes, name: str, *permissions: str) -> dict[str, Any]:
    fields = {"fileId": file_id, **{f"permissions[{n}]": one for n, one in enumerate(permissions)}}
    return {"data": fields, "files": {"file": (name, content)}}


def upload(caller: Caller, file_id: str = "unique()", content: bytes = PNG, name: str = "a.png") -> Any:
    answer = caller("POST", FILES, **form_of(file_id, content, name))
    assert answer.status == 201, answer.body
    return answer.body


# Buckets


def test_a_bucket(caller: Caller) -> None:
    bucket = create_bucket(caller, permissions=['write("users")', 'read("any")'])
    assert bucket["$permissions"] == ['create("users")', 'update("users")', 'delete("users")', 'read("any")']
    assert (bucket["fileSecurity"], bucket["enabled"], bucket["compression"]) == (False, True, "none")
    assert (bucket["maximumFileSize"], bucket["totalSize"], bucket["transformations"]) == (104857600, 0, True)
    changed = caller("PUT", "/storage/buckets/photos", json={"name": "Pictures", "enabled": False})
    assert (changed.body["name"], changed.body["enabled"], len(changed.body["$permissions"])) == ("Pictures", False, 4)
    assert caller.get("/storage/buckets/photos").body == changed.body
    assert caller.get("/storage/buckets", params={"search": "pict"}).body["total"] == 1
    assert caller.delete("/storage/buckets/photos").status == 204
    assert caller.get("/storage/buckets/photos").refusal == (404, "storage_bucket_not_found")


@pytest.mark.parametrize(
    "parameters",
    [
        {"name": ""},
        {"maximumFileSize": 0},
        {"maximumFileSize": 104857601},
        {"compression": "rar"},
        {"permissions": ["read(any)"]},
        {"permissions": ['read("*")']},
        {"permissions": ['fly("any")']},
        {"permissions": ['read("any")'] * 101},
        {"allowedFileExtensions": ["x" * 65]},
    ],
)
def test_bad_buckets(caller: Caller, parameters: dict[str, object]) -> None:
    answer = caller.post("/storage/buckets", {"bucketId": "photos", "name": "Photos", **parameters})
    assert answer.refusal == (400, "general_argument_invalid")


def test_a_bucket_of_the_same_id(caller: Caller) -> None:
    create_bucket(caller)
    answer = caller.post("/storage/buckets", {"bucketId": "photos", "name": "Photos"})
    assert answer.refusal == (409, "storage_bucket_already_exists")


def test_a_deleted_bucket_takes_its_files_along(caller: Caller) -> None:
    create_bucket(caller)
    for _ in range(21):  # more than one page
        upload(caller)
    caller.delete("/storage/buckets/photos")
    assert caller.rows("SELECT count(*) FROM files WHERE project_seq = %(project)s") == [(0,)]


# Files


def test_a_file(caller: Caller) -> None:
    create_bucket(caller)
    file = upload(caller, "logo", name="müsli.png")
    assert (file["$id"], file["bucketId"], file["name"], file["$permissions"]) == ("logo", "photos", "müsli.png", [])
    assert (file["mimeType"], file["sizeOriginal"]) == ("image/png", len(PNG))
    assert file["signature"] == hashlib.md5(PNG, usedforsecurity=False).hexdigest()
    assert (file["chunksTotal"], file["chunksUploaded"]) == (1, 1)
    assert caller.get(f"{FILES}/logo").body == file
    assert caller.get(FILES, params={"search": "müsli"}).body["files"] == [file]
    renamed = caller("PUT", f"{FILES}/logo", json={"name": "logo.png", "permissions": ['read("any")']}).body
    assert (renamed["name"], renamed["$permissions"]) == ("logo.png", ['read("any")'])
    assert caller.get("/storage/buckets/photos").body["totalSize"] == len(PNG)
    assert caller.delete(f"{FILES}/logo").status == 204
    assert caller.get(f"{FILES}/logo").refusal == (404, "storage_file_not_found")


@pytest.mark.parametrize(
    ("bucket", "form", "expected"),
    [
        ({}, {"data": {"fileId": "a"}, "files": {"other": ("a", b"x")}}, (400, "storage_file_empty")),
        ({}, form_of("a", b"", "a.png"), (400, "storage_file_empty")),
        ({}, form_of("§", PNG, "a.png"), (400, "general_argument_invalid")),
        ({"allowedFileExtensions": ["JPG"]}, form_of("a", PNG, "a.png"), (400, "storage_file_type_unsupported")),
        ({"maximumFileSize": 27}, form_of("a", PNG, "a.png"), (400, "storage_invalid_file_size")),
    ],
)
def test_refused_uploads(
    caller: Caller, bucket: dict[str, Any], form: dict[str, Any], expected: tuple[int, str]
) -> None:
    create_bucket(caller, **bucket)
    assert caller("POST", FILES, **form).refusal == expected
    assert caller.get(FILES).body["total"] == 0


def test_a_file_of_the_same_id(caller: Caller) -> None:
    create_bucket(caller)
    upload(caller, "logo")
    assert caller("POST", FILES, **form_of("logo", PNG, "a.png")).refusal == (409, "storage_file_already_exists")


def test_a_plain_form_may_be_longer_than_a_chunk(caller: Caller) -> None:
    create_bucket(caller)
    content = os.urandom(CHUNK_BYTES + 10)
    assert upload(caller, "large", content)["chunksUploaded"] == 2
    assert caller.get(f"{FILES}/large/view").body == content


# Chunks


def send_chunk(caller: Caller, content: bytes, number: int, *, file_id: str | None = None) -> Answer:
    start = number * CHUNK_BYTES
    piece = content[start : start + CHUNK_BYTES]
    headers = {"Content-Range": f"bytes {start}-{start + len(piece) - 1}/{len(content)}", "X-Appwrite-ID": file_id}
    with requests.Session() as session:
        sender = Caller(caller.endpoint, caller.project_id, caller.key, caller.factory, session)
        return sender("POST", FILES, headers=headers, **form_of("unique()", piece, "large.bin"))


def test_chunks_arrive_side_by_side_and_count_once(caller: Caller) -> None:
    create_bucket(caller)
    content = os.urandom(4 * CHUNK_BYTES + 1000)
    first = send_chunk(caller, content, 0)
    assert (first.status, first.body["chunksTotal"], first.body["chunksUploaded"]) == (201, 5, 1)
    file_id = first.body["$id"]
    assert send_chunk(caller, content, 0, file_id=file_id).body["chunksUploaded"] == 1, "repeated"
    assert caller.get(f"{FILES}/{file_id}/view").refusal == (404, "storage_file_not_found"), "not complete"
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: send_chunk(caller, content, number, file_id=file_id), (4, 2, 3, 1)))
    assert sorted(answer.body["chunksUploaded"] for answer in answers) == [2, 3, 4, 5]
    complete = caller.get(f"{FILES}/{file_id}").body
    assert complete["signature"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert caller.get(f"{FILES}/{file_id}/download").body == content
    across = caller.get(f"{FILES}/{file_id}/view", headers={"Range": f"bytes={CHUNK_BYTES - 2}-{CHUNK_BYTES + 1}"})
    assert across.body == content[CHUNK_BYTES - 2 : CHUNK_BYTES + 2]
    assert send_chunk(caller, content, 4, file_id=file_id).refusal == (409, "storage_file_already_exists")


def test_chunks_may_come_in_any_order_and_at_any_time(caller: Caller) -> None:
    """As a client does that starts again: it asks what is there and sends the rest."""
    create_bucket(caller)
    content = b"%PDF-" + os.urandom(2 * CHUNK_BYTES)
    file_id = send_chunk(caller, content, 2).body["$id"]
    assert (begun := caller.get(f"{FILES}/{file_id}").body)["chunksUploaded"] == 1
    assert (begun["signature"], begun["mimeType"], begun["sizeOriginal"]) == ("", "", len(content))
    for number, uploaded in ((0, 2), (1, 3)):
        assert send_chunk(caller, content, number, file_id=file_id).body["chunksUploaded"] == uploaded
    assert caller.get(f"{FILES}/{file_id}").body["mimeType"] == "application/pdf"
    assert caller.get(f"{FILES}/{file_id}/view").body == content


def test_an_upload_of_one_chunk(caller: Caller) -> None:
    create_bucket(caller)
    answer = send_chunk(caller, PNG, 0)
    assert (answer.body["chunksUploaded"], answer.body["mimeType"]) == (1, "image/png")
    assert send_chunk(caller, PNG, 0, file_id=answer.body["$id"]).refusal == (409, "storage_file_already_exists")


def test_a_plain_form_does_not_take_the_place_of_a_begun_upload(caller: Caller) -> None:
    create_bucket(caller)
    content = os.urandom(CHUNK_BYTES + 1)
    file_id = send_chunk(caller, content, 0).body["$id"]
    answer = caller("POST", FILES, **form_of(file_id, content, "a.bin"))
    assert answer.refusal == (409, "storage_file_already_exists")


def test_the_size_of_a_file_stays_what_it_began_with(caller: Caller) -> None:
    create_bucket(caller)
    content = os.urandom(CHUNK_BYTES + 10)
    file_id = send_chunk(caller, content, 0).body["$id"]
    answer = send_chunk(caller, content + b"more", 1, file_id=file_id)
    assert answer.refusal == (400, "storage_invalid_content_range")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content-Range": "bytes 0-27"}, "storage_invalid_content_range"),
        ({"Content-Range": "bytes 0-99/28"}, "storage_invalid_content_range"),
        ({"Content-Range": "bytes 0-27/29"}, "storage_invalid_content_range"),
        ({"Content-Range": "bytes 5-27/33"}, "storage_invalid_content_range"),
        ({"Content-Range": "bytes 0-27/28", "X-Appwrite-ID": "-"}, "storage_invalid_appwrite_id"),
    ],
)
def test_bad_chunks(caller: Caller, headers: dict[str, str], expected: str) -> None:
    create_bucket(caller)
    answer = caller("POST", FILES, headers=headers, **form_of("a", PNG, "a.png"))
    assert answer.refusal == (400, expected)


# View, download, ranges


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        (None, 200, b"0123456789"),
        ("bytes=0-0", 206, b"0"),
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=7-99", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("lines=1-2", 200, b"0123456789"),
        ("bytes=10-", 416, None),
        ("bytes=4-2", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=-", 416, None),
        ("bytes=a-b", 416, None),
    ],
)
def test_ranges(caller: Caller, wanted: str | None, status: int, content: bytes | None) -> None:
    create_bucket(caller)
    upload(caller, "digits", b"0123456789", "digits.txt")
    answer = caller.get(f"{FILES}/digits/view", headers={"Range": wanted})
    assert answer.status == status
    if status == 416:
        assert answer.type == "storage_invalid_range"
    else:
        assert answer.body == content
    if status == 206:
        assert answer.headers["content-range"].endswith("/10")


def test_view_and_download_name_the_file(caller: Caller) -> None:
    create_bucket(caller)
    upload(caller, "logo", name="mü.png")
    view, download = (caller.get(f"{FILES}/logo/{way}") for way in ("view", "download"))
    assert view.headers["content-disposition"] == "inline; filename*=UTF-8''m%C3%BC.png"
    assert download.headers["content-disposition"].startswith("attachment;")
    upload(caller, "plain", name="logo 1.png")
    plain = caller.get(f"{FILES}/plain/download").headers["content-disposition"]
    assert plain == "attachment; filename=\"logo 1.png\"; filename*=UTF-8''logo%201.png"
    assert (view.headers["content-type"], view.body) == ("image/png", PNG)


# Permissions


def test_what_a_user_may_do_with_a_bucket_of_users(caller: Caller) -> None:
    create_bucket(caller, permissions=['create("users")'], fileSecurity=True)
    bob, eve = log_in(caller, "bob"), log_in(caller, "eve")
    made = bob("POST", FILES, **form_of("mine", PNG, "a.png"))
    assert made.body["$permissions"] == ['read("user:bob")', 'update("user:bob")', 'delete("user:bob")']
    assert bob("GET", f"{FILES}/mine/view").body == PNG
    assert eve("GET", f"{FILES}/mine").refusal == (404, "storage_file_not_found")
    assert (bob("GET", FILES).body["total"], eve("GET", FILES).body["total"]) == (1, 0)
    assert bob("PUT", f"{FILES}/mine", json={"permissions": ['read("user:eve")']}).type == "user_unauthorized"
    assert bob("PUT", f"{FILES}/mine", json={"permissions": ['read("users")']}).status == 200
    assert eve("GET", f"{FILES}/mine").status == 200
    assert eve("DELETE", f"{FILES}/mine").refusal == (401, "user_unauthorized")
    assert as_guest(caller, "POST", FILES, **form_of("a", PNG, "a.png")).refusal == (401, "user_unauthorized")


@pytest.mark.parametrize(
    ("bucket", "expected"),
    [
        ({}, "user_unauthorized"),
        ({"permissions": ['read("any")']}, ""),
        ({"permissions": ['read("guests")']}, ""),
        ({"permissions": ['read("users")']}, "user_unauthorized"),
        ({"fileSecurity": True}, "storage_file_not_found"),
        ({"permissions": ['read("any")'], "enabled": False}, "storage_bucket_not_found"),
    ],
)
def test_what_guests_may_read(caller: Caller, bucket: dict[str, Any], expected: str) -> None:
    create_bucket(caller, **bucket)
    upload(caller, "logo")
    answer = as_guest(caller, "GET", f"{FILES}/logo")
    assert (answer.body.get("type", "") if answer.status != 200 else "") == expected
    assert caller.get(f"{FILES}/logo").status == 200, "keys need no permission"


def test_nobody_goes_on_with_the_upload_of_another(caller: Caller) -> None:
    create_bucket(caller, permissions=['create("users")'])
    content = os.urandom(CHUNK_BYTES + 1)
    bob, eve = log_in(caller, "bob"), log_in(caller, "eve")
    ranges = [f"bytes 0-{CHUNK_BYTES - 1}/{len(content)}", f"bytes {CHUNK_BYTES}-{CHUNK_BYTES}/{len(content)}"]
    first, last = form_of("f", content[:CHUNK_BYTES], "f"), form_of("f", content[CHUNK_BYTES:], "f")
    assert bob("POST", FILES, headers={"Content-Range": ranges[0]}, **first).status == 201
    assert eve("POST", FILES, headers={"Content-Range": ranges[1]}, **last).refusal == (401, "user_unauthorized")
    assert bob("POST", FILES, headers={"Content-Range": ranges[1]}, **last).body["chunksUploaded"] == 2


def test_uploads_of_users_are_counted(caller: Caller) -> None:
    create_bucket(caller, permissions=['create("users")'])
    bob = log_in(caller, "bob")
    answer = bob("POST", FILES, **form_of("a", PNG, "a.png"))
    assert (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]) == ("60", "59")
    by_key = [caller("POST", FILES, **form_of("unique()", PNG, "a.png")) for _ in range(2)]
    assert [answer.headers["x-ratelimit-remaining"] for answer in by_key] == ["59", "59"]


def test_an_upload_that_says_nothing_of_its_form_is_refused(caller: Caller) -> None:
    caller.create("/storage/buckets", {"bucketId": "b", "name": "B"})
    assert caller("POST", "/storage/buckets/b/files", data=b"x", headers={"Content-Type": None}).status == 400
