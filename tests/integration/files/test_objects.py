"""Objects over S3's wire: signed, in ranges, with errors told in one line and without their secrets."""

import os
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigurationError, NotReachable
from shared.files.objects import ObjectStore, new_object_key, open_object_store
from shared.settings import Settings
from tests.contract.certificates import make_certificates
from tests.s3_server import Bucket, object_settings, serve_bucket, sign


def open_store(bucket: Bucket, **changes: Any) -> ObjectStore:
    store = open_object_store(Settings(**object_settings(bucket) | changes))
    assert store is not None
    return store


def test_the_server_signs_as_amazon_documents() -> None:
    headers = {
        "host": "examplebucket.s3.amazonaws.com",
        "range": "bytes=0-9",
        "x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "x-amz-date": "20130524T000000Z",
    }
    signature = sign(
        "GET",
        "/test.txt",
        headers,
        "host;range;x-amz-content-sha256;x-amz-date",
        secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
    )
    assert signature == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


async def test_an_object_is_written_read_in_parts_and_deleted(bucket: Bucket) -> None:
    store = open_store(bucket)
    key = new_object_key()
    await store.put(key, b"0123456789")
    assert bucket.objects == {f"files/{key}": b"0123456789"}
    assert await store.read(key, 2, 3) == b"234"
    assert await store.read(key, 0, 100) == b"0123456789"
    await store.delete([key, new_object_key()])
    assert bucket.objects == {}
    assert await store.read(key, 0, 1) is None


async def test_a_chunk_goes_out_in_one_request(bucket: Bucket) -> None:
    content = os.urandom(5 * 1024 * 1024)
    await open_store(bucket).put("large", content)
    assert (bucket.requests, bucket.objects["files/large"]) == (["PUT files/large"], content)


async def test_the_probe_needs_every_right_and_leaves_nothing(bucket: Bucket) -> None:
    await open_store(bucket).probe()
    assert [request.partition(" ")[0] for request in bucket.requests] == ["PUT", "GET", "DELETE"]
    assert bucket.objects == {}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"files_url": "s3://other/files"}, "NoSuchBucket"),
        ({"files_secret_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"files_access_key": "wrong"}, "InvalidAccessKeyId"),
        ({"files_region": "us-east-1"}, "SignatureDoesNotMatch"),
    ],
)
async def test_what_the_storage_refuses(bucket: Bucket, changes: dict[str, str], word: str) -> None:
    store = open_store(bucket, **changes)
    for attempt in (store.put("key", b"x"), store.delete(["key"])):
        with pytest.raises(NotReachable, match=f"asked: {word}\\.$"):
            await attempt


async def test_trouble_that_passes_is_not_seen(bucket: Bucket) -> None:
    bucket.troubles = [(503, "SlowDown")]
    await open_store(bucket).put("key", b"x")
    assert bucket.objects == {"files/key": b"x"}


async def test_a_server_that_is_away() -> None:
    store = open_store(Bucket("tidings", endpoint="http://127.0.0.1:9"))
    with pytest.raises(NotReachable, match=r"asked: HTTP error: error sending request\.$"):
        await store.read("key", 0, 1)


async def test_a_server_with_a_certificate_of_the_operators_own(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with serve_bucket(tls=certificates.server_context()) as bucket:
        await open_store(bucket, ca_file=certificates.ca_file).probe()
        with pytest.raises(NotReachable, match="HTTP error"):
            await open_store(bucket).probe()


async def test_the_environment_of_aws_does_not_get_in_the_way(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "another")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    await open_store(bucket).probe()


@pytest.mark.parametrize(
    "changes",
    [
        {"files_url": "tidings"},
        {"files_url": "https://example.com/files"},
        {"files_url": "s3:///files"},
        {"files_secret_key": None},
        {"files_endpoint": "minio:9000"},
    ],
)
def test_settings_that_name_no_storage(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        open_store(Bucket("tidings"), **changes)


def test_without_an_address_there_is_none() -> None:
    assert open_object_store(Settings()) is None
