"""The other side of S3: path-style requests for the objects of one bucket, each signature checked as Amazon does."""

import hashlib
import hmac
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import SecretStr

EVERYTHING = frozenset({"GET", "PUT", "DELETE"})
REGION = "eu-test-1"
ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w{64})"
)
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(slots=True)
class Bucket:
    """What the server holds, and how it behaves."""

    name: str
    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    troubles: list[tuple[int, str]] = field(default_factory=list)  # of the next requests: status and S3's word
    away: frozenset[str] = frozenset()  # methods that are answered by 503
    requests: list[str] = field(default_factory=list)  # "PUT prefix/key"


def object_variables(bucket: Bucket) -> dict[str, str]:
    """What makes processes keep files in it."""
    return {
        "TIDINGS_FILES_URL": f"s3://{bucket.name}/files",
        "TIDINGS_FILES_ENDPOINT": bucket.endpoint,
        "TIDINGS_FILES_REGION": REGION,
        "TIDINGS_FILES_ACCESS_KEY": ACCESS_KEY,
        "TIDINGS_FILES_SECRET_KEY": SECRET_KEY,
    }


def object_settings(bucket: Bucket) -> dict[str, Any]:
    """The same for Settings."""
    given = {name.removeprefix("TIDINGS_").lower(): value for name, value in object_variables(bucket).items()}
    return {name: SecretStr(value) if name.endswith("_key") else value for name, value in given.items()}


class Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


def sign(
    method: str, target: str, headers: Mapping[str, str], signed_headers: str, *, secret_key: str, region: str
) -> str:
    """The signature of a request: AWS documentation, "Authenticating Requests: Using the Authorization Header"."""
    address = urlsplit(target)
    query = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in parse_qsl(address.query, True))
    canonical = "\n".join(
        [
            method,
            address.path,
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed_headers.split(";")),
            "",
            signed_headers,
            headers["x-amz-content-sha256"],
        ]
    )
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(), "sha256").hex()


def check_signature(method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
    """Raises Refused."""
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None or match[1] != ACCESS_KEY or "x-amz-security-token" in headers:
        raise Refused(403, "InvalidAccessKeyId")
    _, day, region, signed_headers, signature = match.groups()
    sent_at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(datetime.now(UTC) - sent_at) > timedelta(minutes=15) or day != f"{sent_at:%Y%m%d}":
        raise Refused(403, "RequestTimeTooSkewed")
    if headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
        raise Refused(400, "XAmzContentSHA256Mismatch")
    must_be_signed = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    expected = sign(method, target, headers, signed_headers, secret_key=SECRET_KEY, region=REGION)
    if region != REGION or signature != expected or not must_be_signed <= set(signed_headers.split(";")):
        raise Refused(403, "SignatureDoesNotMatch")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            self._answer(*self._act(body))
        except Refused as refusal:
            error = f"<Error><Code>{refusal.code}</Code><AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId></Error>"
            self._answer(refusal.status, error.encode(), {"content-type": "application/xml"})

    do_GET = do_PUT = do_DELETE = _serve  # noqa: N815  # the base class's names

    def _act(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        bucket = self.bucket
        headers = {name.lower(): value for name, value in self.headers.items()}
        name, _, key = unquote(urlsplit(self.path).path).removeprefix("/").partition("/")
        bucket.requests.append(f"{self.command} {key}")
        if bucket.troubles:
            raise Refused(*bucket.troubles.pop(0))
        if self.command in bucket.away:
            raise Refused(503, "ServiceUnavailable")
        check_signature(self.command, self.path, headers, body)
        if name != bucket.name:
            raise Refused(404, "NoSuchBucket")
        match self.command:
            case "PUT":
                bucket.objects[key] = body
                return 200, b"", {}
            case "DELETE":
                bucket.objects.pop(key, None)
                return 204, b"", {}
            case _:
                return self._read(key, headers.get("range"))

    def _read(self, key: str, wanted: str | None) -> tuple[int, bytes, dict[str, str]]:
        content = self.bucket.objects.get(key)
        if content is None:
            raise Refused(404, "NoSuchKey")
        match = _RANGE.fullmatch(wanted or "")
        if match is None:
            return 200, content, {}
        first, last = int(match[1]), min(int(match[2]), len(content) - 1)
        if first > last:
            raise Refused(416, "InvalidRange")
        return 206, content[first : last + 1], {"content-range": f"bytes {first}-{last}/{len(content)}"}

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"etag": '"e"', "last-modified": formatdate(0, usegmt=True), **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the base class's name
        """A test looks at `requests` instead."""


@contextmanager
def serve_bucket(name: str = "tidings", *, tls: ssl.SSLContext | None = None) -> Iterator[Bucket]:
    bucket = Bucket(name)
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"bucket": bucket})) as server:
        server.daemon_threads = True  # kept connections end with the process
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        bucket.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield bucket
        finally:
            server.shutdown()
            thread.join()
