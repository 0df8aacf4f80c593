"""AWS Signature Version 4 as AWS checks it: computed again from the request and the account's secret."""

import hmac
import re
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

from shared.simulator.wire.exchange import Request

CLOCK_SECONDS = 15 * 60
"""A request that is older, or newer, has expired."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, *"
    r"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})"
)


class SignatureRefused(Exception):
    """Its text is the type of AWS's error."""


def check_signature(request: Request, *, access_key: str, secret_key: str, region: str, service: str) -> None:
    """Raises SignatureRefused."""
    found = _AUTHORIZATION.fullmatch(request.header(b"authorization"))
    if found is None:
        raise SignatureRefused("MissingAuthenticationTokenException")
    key_id, day, its_region, its_service, names, signature = found.groups()
    if key_id != access_key:
        raise SignatureRefused("UnrecognizedClientException")
    date = request.header(b"x-amz-date")
    if not date.startswith(day) or (its_region, its_service) != (region, service):
        raise SignatureRefused("InvalidSignatureException")
    if not {"host", "x-amz-date"} <= set(names.split(";")):
        raise SignatureRefused("IncompleteSignatureException")
    if abs((datetime.now(UTC) - _read(date)).total_seconds()) > CLOCK_SECONDS:
        raise SignatureRefused("RequestExpired")
    text = _to_sign(request, names, date, f"{day}/{region}/{service}/aws4_request")
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request", text):
        key = hmac.new(key, part.encode(), sha256).digest()
    if not hmac.compare_digest(key.hex(), signature):
        raise SignatureRefused("SignatureDoesNotMatch")


def _to_sign(request: Request, names: str, date: str, scope: str) -> str:
    headers = {**request.headers, b"host": request.headers.get(b"host") or request.headers.get(b":authority", b"")}
    lines = [
        request.method,
        quote(request.path, safe="/-_.~%"),
        "&".join(sorted(request.query.split("&"))),
        *(f"{name}:{' '.join(headers.get(name.encode(), b'').decode('latin-1').split())}" for name in names.split(";")),
        "",
        names,
        sha256(request.body).hexdigest(),
    ]
    return "\n".join(["AWS4-HMAC-SHA256", date, scope, sha256("\n".join(lines).encode()).hexdigest()])


def _read(date: str) -> datetime:
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise SignatureRefused("IncompleteSignatureException") from error
