"""Addresses under which phones fetch a push message's image: signed, good without any header (contract §8.3)."""

from datetime import datetime, timedelta
from urllib.parse import urlencode

from api.kernel import Call
from api.parameters import read_query_field
from api.tokens import Purpose, TokenRefused
from shared.errors import RejectedRequest

VALID = timedelta(days=15)
"""From the moment the message is sent."""


async def sign_address(call: Call, bucket_id: str, file_id: str, *, sent_at: datetime | None) -> str:
    project_id = call.project.id
    claims = {"bucketId": bucket_id, "fileId": file_id, "projectId": project_id}
    expires_at = ((sent_at or await call.services.clock.now()) + VALID).timestamp()
    token = call.services.tokens.sign(Purpose.PUSH_IMAGE, project_id, claims, expires_at=expires_at)
    origin = (call.services.settings.public_url or str(call.base_url)).rstrip("/").removesuffix("/v1")
    query = urlencode({"project": project_id, "jwt": token})
    return f"{origin}/v1/storage/buckets/{bucket_id}/files/{file_id}/push?{query}"


async def check_address(call: Call, bucket_id: str, file_id: str) -> None:
    """Raises RejectedRequest unless the address was made for this very file."""
    project_id = call.project.id
    token, now = read_query_field(call, "jwt"), await call.services.clock.now()
    try:
        claims = call.services.tokens.verify(Purpose.PUSH_IMAGE, project_id, token, now=now)
    except TokenRefused as error:
        raise RejectedRequest("user_unauthorized", f"The address is not valid: {error}") from error
    if (claims["bucketId"], claims["fileId"], claims["projectId"]) != (bucket_id, file_id, project_id):
        raise RejectedRequest("user_unauthorized", "The address was made for another file.")
