"""Buckets and files: small ones whole, a large one in the chunks that the SDK cuts."""

import secrets

from tests.sdk.sdk import UNIQUE, make
from tests.sdk.tour import Tour, fingerprint

CHUNK_BYTES = 5 * 1024 * 1024


def visit(tour: Tour) -> None:
    storage = tour.owner.storage
    for_all, for_users = (make("Permission", "read", make("Role", role)) for role in ("any", "users"))
    bucket = storage("createBucket", bucketId=UNIQUE, name="Photos", permissions=[for_all])["$id"]
    changed = storage("updateBucket", bucketId=bucket, name="Pictures", permissions=[for_all], fileSecurity=True)
    assert (changed["name"], changed["fileSecurity"]) == ("Pictures", True)

    content = secrets.token_bytes(2 * CHUNK_BYTES + 7)
    large = storage("createFile", bucketId=bucket, fileId=UNIQUE, file=tour.file("large.bin", content))
    assert (large["chunksUploaded"], large["chunksTotal"], large["sizeOriginal"]) == (3, 3, len(content))
    assert storage("getFileDownload", bucketId=bucket, fileId=large["$id"]) == fingerprint(content)

    note = tour.file("note.txt", b"hello")
    small = storage("createFile", bucketId=bucket, fileId="note", file=note, permissions=[for_users])
    assert (small["mimeType"], small["$permissions"]) == ("text/plain", ['read("users")'])
    renamed = storage("updateFile", bucketId=bucket, fileId="note", name="renamed.txt")
    assert renamed == storage("getFile", bucketId=bucket, fileId="note")
    assert storage("listFiles", bucketId=bucket, search="renamed")["files"] == [renamed]
    seen = tour.principal().storage("getFileView", bucketId=bucket, fileId="note")
    assert seen == fingerprint(b"hello"), "the bucket lets anybody read"

    storage("deleteFile", bucketId=bucket, fileId="note")
    assert storage("listFiles", bucketId=bucket)["total"] == 1
    storage("deleteBucket", bucketId=bucket)
    assert storage("listBuckets")["total"] == 0
