"""Files that a message names: checked, and put the way the message's `data` shows them (contract §8.3, step 6)."""

from datetime import datetime
from typing import Any

from api.kernel import Call
from api.push_images import sign_address
from shared.db.queries.files import NamedFile, find_named_files
from shared.db.session import hot_statements
from shared.errors import RejectedRequest

IMAGE_TYPES = frozenset({"image/png", "image/jpeg"})


async def show_files(call: Call, data: dict[str, Any], *, sent_at: datetime | None) -> dict[str, Any]:
    """`data` with `BUCKET:FILE` written out. Raises RejectedRequest for what does not exist.

    What is written out already stays, but for an image's address: it is good for a time counted from `sent_at`.
    Permissions of buckets and files are not looked at: who may send with a key may send every file.
    """
    attachments, image = data.get("attachments") or [], data.get("image")
    if any(isinstance(attachment, str) for attachment in attachments):
        named = await _find(call, attachments)
        data = {**data, "attachments": [{"bucketId": file.bucket_id, "fileId": file.file_id} for file in named]}
    if isinstance(image, str):
        (file,) = await _find(call, [image])
        if file.mime_type not in IMAGE_TYPES:
            raise RejectedRequest("storage_file_type_unsupported", "The image of a push message is a PNG or a JPEG.")
        image = {"bucketId": file.bucket_id, "fileId": file.file_id}
    if image:
        url = await sign_address(call, image["bucketId"], image["fileId"], sent_at=sent_at)
        data = {**data, "image": {**image, "url": url}}
    return data


async def _find(call: Call, compound_ids: list[str]) -> list[NamedFile]:
    pairs = [compound_id.split(":")[:2] for compound_id in compound_ids]
    async with hot_statements(call.services.engine) as connection:
        named = await find_named_files(connection, call.project.seq, [(bucket, file) for bucket, file in pairs])
    for file in named:
        if not file.has_bucket:
            raise RejectedRequest("storage_bucket_not_found", f"There is no bucket `{file.bucket_id}`.")
        if file.seq is None:
            raise RejectedRequest("storage_file_not_found", f"There is no complete file `{file.file_id}`.")
    return named
