"""/v1/storage (contract §16): buckets, and files where every process can read them."""

from typing import Annotated

from fastapi import Query
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import StreamingResponse

from api.declarations import Content, Upload
from api.downloads import send_file
from api.kernel import Call, Routes
from api.limits import RateLimit
from api.paths import BucketId, FileId
from api.permissions import ThingPermissions, permissions_to_give
from api.principals import KeyHolder
from api.push_images import check_address
from api.queries import Attribute, Kind, select, stored_attributes
from api.refusals import created, found
from api.schemas.lists import ListParameters
from api.schemas.storage import (
    BucketCreate,
    BucketList,
    BucketModel,
    BucketUpdate,
    FileList,
    FileModel,
    FileUpdate,
)
from api.schemas.values import CustomId
from api.uploads import read_part, store_part
from shared.db.models import Bucket, StoredFile
from shared.db.queries import files
from shared.db.queries.files import SizedBucket
from shared.errors import RejectedRequest

routes = Routes("storage")

UPLOAD_BYTES = 64 * 1024 * 1024
"""Largest request: clients cut files at 5 MiB, but a plain form may bring more."""

FORM = {
    "fileId": {"title": "File id", **TypeAdapter(CustomId).json_schema()},
    "file": {"type": "string", "title": "File", "format": "binary"},
    "permissions[]": {"title": "Permissions", **TypeAdapter(ThingPermissions).json_schema()},
}

BUCKET_ATTRIBUTES = {
    **stored_attributes(Bucket),
    "enabled": Attribute(Bucket.enabled, Kind.BOOLEAN),
    "name": Attribute(Bucket.name),
    "fileSecurity": Attribute(Bucket.file_security, Kind.BOOLEAN),
    "maximumFileSize": Attribute(Bucket.maximum_file_size, Kind.INTEGER),
}
FILE_ATTRIBUTES = {
    **stored_attributes(StoredFile),
    "name": Attribute(StoredFile.name),
    "signature": Attribute(StoredFile.signature),
    "mimeType": Attribute(StoredFile.mime_type),
    "sizeOriginal": Attribute(StoredFile.size, Kind.INTEGER),
    "chunksTotal": Attribute(StoredFile.chunks_total, Kind.INTEGER),
    "chunksUploaded": Attribute(StoredFile.chunks_uploaded, Kind.INTEGER),
}


def _size_limit(call: Call, wanted: int | None) -> int:
    allowed = call.services.settings.max_file_bytes
    if wanted is not None and wanted > allowed:
        raise RejectedRequest("general_argument_invalid", f"`maximumFileSize` is larger than {allowed}.")
    return wanted or allowed


@routes.get("/v1/storage/buckets", scope="buckets.read", answers=BucketList)
async def list_buckets(call: Call, wanted: Annotated[ListParameters, Query()]) -> BucketList:
    selection = select(wanted, BUCKET_ATTRIBUTES, search_in=(Bucket.id, Bucket.name))
    async with call.services.sessions() as session:
        page = await files.list_buckets(session, call.project.seq, selection)
    return BucketList(total=page.total, buckets=[BucketModel.of(*SizedBucket(*row)) for row in page.rows])


@routes.post(
    "/v1/storage/buckets", scope="buckets.write", answers=BucketModel, refusals=["storage_bucket_already_exists"]
)
async def create_bucket(call: Call, body: BucketCreate) -> BucketModel:
    given = body.model_dump(exclude={"bucket_id"})
    given["maximum_file_size"] = _size_limit(call, body.maximum_file_size)
    async with call.services.sessions.begin() as session:
        bucket = await files.create_bucket(session, call.project.seq, id=body.bucket_id, **given)
    return BucketModel.of(created(bucket, "storage_bucket_already_exists"), 0)


@routes.get(
    "/v1/storage/buckets/{bucketId}",
    scope="buckets.read",
    answers=BucketModel,
    refusals=["storage_bucket_not_found"],
)
async def get_bucket(call: Call, bucket_id: BucketId) -> BucketModel:
    async with call.services.sessions() as session:
        sized = await files.find_sized_bucket(session, call.project.seq, bucket_id)
    return BucketModel.of(*found(sized, "storage_bucket_not_found"))


@routes.put(
    "/v1/storage/buckets/{bucketId}",
    scope="buckets.write",
    answers=BucketModel,
    refusals=["storage_bucket_not_found"],
)
async def update_bucket(call: Call, bucket_id: BucketId, body: BucketUpdate) -> BucketModel:
    given = body.model_dump(exclude_unset=True)
    _size_limit(call, body.maximum_file_size)
    async with call.services.sessions.begin() as session:
        await files.update_bucket(session, call.project.seq, bucket_id, **given)
        sized = await files.find_sized_bucket(session, call.project.seq, bucket_id)
    return BucketModel.of(*found(sized, "storage_bucket_not_found"))


@routes.delete(
    "/v1/storage/buckets/{bucketId}", scope="buckets.write", refusals=["storage_bucket_not_found"], takes_long=True
)
async def delete_bucket(call: Call, bucket_id: BucketId) -> None:
    """With its files, in pages."""
    sessions = call.services.sessions
    async with call.bounded(), sessions() as session:
        bucket = found(await files.find_bucket(session, call.project.seq, bucket_id), "storage_bucket_not_found")
    is_gone = False
    while not is_gone:
        async with call.bounded(), sessions.begin() as session:
            is_gone = await files.delete_bucket(session, bucket.seq)


async def _find_bucket(call: Call, session: AsyncSession, bucket_id: str) -> Bucket:
    """A disabled one exists for keys only."""
    bucket = await files.find_bucket(session, call.project.seq, bucket_id)
    is_hidden = bucket is not None and not bucket.enabled and not isinstance(call.principal, KeyHolder)
    return found(None if is_hidden else bucket, "storage_bucket_not_found")


async def _find_file(
    call: Call, session: AsyncSession, bucket_id: str, file_id: str, permission: str
) -> tuple[Bucket, StoredFile]:
    """The file, if the caller has this permission: by the bucket, or by the file where the bucket lets files say."""
    bucket = await _find_bucket(call, session, bucket_id)
    by_bucket = call.may(permission, bucket.permissions)
    if not by_bucket and not bucket.file_security:
        raise RejectedRequest("user_unauthorized", f"The bucket does not let the caller {permission} files.")
    file = await files.find_file(session, bucket.seq, file_id)
    may = by_bucket or (file is not None and call.may(permission, file.permissions))
    # a missing one is refused like one that does not let the caller, who learns nothing of what is there
    if not may and permission != "read":
        raise RejectedRequest("user_unauthorized", f"No file of this id lets the caller {permission} it.")
    return bucket, found(file if may else None, "storage_file_not_found")


@routes.get(
    "/v1/storage/buckets/{bucketId}/files",
    scope="files.read",
    answers=FileList,
    refusals=["storage_bucket_not_found", "user_unauthorized"],
)
async def list_files(call: Call, bucket_id: BucketId, wanted: Annotated[ListParameters, Query()]) -> FileList:
    selection = select(wanted, FILE_ATTRIBUTES, search_in=(StoredFile.id, StoredFile.name))
    async with call.services.sessions() as session:
        bucket = await _find_bucket(call, session, bucket_id)
        roles = None
        if not call.may("read", bucket.permissions):
            if not bucket.file_security or isinstance(call.principal, KeyHolder):
                raise RejectedRequest("user_unauthorized", "The bucket does not let the caller read files.")
            roles = call.principal.roles
        page = await files.list_files(session, bucket.seq, selection, readable_by=roles)
    return FileList(total=page.total, files=[FileModel.of(file, bucket_id) for (file,) in page.rows])


@routes.post(
    "/v1/storage/buckets/{bucketId}/files",
    scope="files.write",
    answers=FileModel,
    refusals=[
        "storage_bucket_not_found",
        "user_unauthorized",
        "storage_file_empty",
        "storage_file_type_unsupported",
        "storage_invalid_file_size",
        "storage_invalid_content_range",
        "storage_invalid_appwrite_id",
        "storage_file_already_exists",
    ],
    upload=Upload("multipart/form-data", UPLOAD_BYTES, FORM, required=("fileId", "file")),
    takes_long=True,
    limit=RateLimit(60, 60, by=("network", "user", "chunk")),
)
async def create_file(call: Call, bucket_id: BucketId) -> FileModel:
    """Parts of the form: `fileId`, `permissions[]`, `file`. A large file comes in chunks of 5 MiB."""
    async with call.bounded(), call.services.sessions() as session:
        bucket = await _find_bucket(call, session, bucket_id)
    if not call.may("create", bucket.permissions):
        raise RejectedRequest("user_unauthorized", "The bucket does not let the caller create files.")
    return FileModel.of(await store_part(call, bucket, await read_part(call, bucket)), bucket_id)


@routes.get(
    "/v1/storage/buckets/{bucketId}/files/{fileId}",
    scope="files.read",
    answers=FileModel,
    refusals=["storage_bucket_not_found", "storage_file_not_found", "user_unauthorized"],
)
async def get_file(call: Call, bucket_id: BucketId, file_id: FileId) -> FileModel:
    async with call.services.sessions() as session:
        _, file = await _find_file(call, session, bucket_id, file_id, "read")
    return FileModel.of(file, bucket_id)


@routes.put(
    "/v1/storage/buckets/{bucketId}/files/{fileId}",
    scope="files.write",
    answers=FileModel,
    refusals=["storage_bucket_not_found", "storage_file_not_found", "user_unauthorized"],
)
async def update_file(call: Call, bucket_id: BucketId, file_id: FileId, body: FileUpdate) -> FileModel:
    given = body.model_dump(exclude_unset=True)
    async with call.services.sessions.begin() as session:
        _, file = await _find_file(call, session, bucket_id, file_id, "update")
        if body.permissions is not None:
            given["permissions"] = permissions_to_give(call, body.permissions)
        changed = await files.update_file(session, file.seq, **given)
    return FileModel.of(found(changed, "storage_file_not_found"), bucket_id)


@routes.delete(
    "/v1/storage/buckets/{bucketId}/files/{fileId}",
    scope="files.write",
    refusals=["storage_bucket_not_found", "storage_file_not_found", "user_unauthorized"],
)
async def delete_file(call: Call, bucket_id: BucketId, file_id: FileId) -> None:
    async with call.services.sessions.begin() as session:
        _, file = await _find_file(call, session, bucket_id, file_id, "delete")
        await files.delete_file(session, file.seq)


def _complete(file: StoredFile | None) -> StoredFile:
    return found(file if file and file.chunks_uploaded == file.chunks_total else None, "storage_file_not_found")


async def _send(call: Call, bucket_id: str, file_id: str, *, disposition: str) -> StreamingResponse:
    async with call.services.sessions() as session:
        _, file = await _find_file(call, session, bucket_id, file_id, "read")
    return await send_file(call, _complete(file), disposition=disposition)


_SENT = ["storage_bucket_not_found", "storage_file_not_found", "user_unauthorized", "storage_invalid_range"]
_CONTENT = Content("*/*", has_parts=True)


@routes.get("/v1/storage/buckets/{bucketId}/files/{fileId}/view", scope="files.read", answers=_CONTENT, refusals=_SENT)
async def get_file_view(call: Call, bucket_id: BucketId, file_id: FileId) -> StreamingResponse:
    return await _send(call, bucket_id, file_id, disposition="inline")


@routes.get(
    "/v1/storage/buckets/{bucketId}/files/{fileId}/download", scope="files.read", answers=_CONTENT, refusals=_SENT
)
async def get_file_download(call: Call, bucket_id: BucketId, file_id: FileId) -> StreamingResponse:
    return await _send(call, bucket_id, file_id, disposition="attachment")


@routes.get("/v1/storage/buckets/{bucketId}/files/{fileId}/push", answers=_CONTENT, refusals=_SENT)
async def get_push_image(call: Call, bucket_id: BucketId, file_id: FileId) -> StreamingResponse:
    """What a push message's image address leads to; the token in it is all that is asked for."""
    await check_address(call, bucket_id, file_id)
    async with call.services.sessions() as session:
        bucket = found(await files.find_bucket(session, call.project.seq, bucket_id), "storage_bucket_not_found")
        file = await files.find_file(session, bucket.seq, file_id)
    return await send_file(call, _complete(file), disposition="inline")
