"""Clients on libcurl, PyJWT and plain sockets: none shares a line with the simulator or with our adapters."""

import io
import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import jwt
import pycurl

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
TIMEOUT_SECONDS = 10


@dataclass(slots=True)
class HttpAnswer:
    status: int
    version: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(slots=True)
class HttpCall:
    """One request, for `http` and `http_many`. `error` is libcurl's number once it failed."""

    method: str
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: Path | None = None
    version: int = pycurl.CURL_HTTP_VERSION_2TLS
    timeout: float = TIMEOUT_SECONDS
    answer: HttpAnswer | None = None
    error: int = 0


VERSIONS = {
    pycurl.CURL_HTTP_VERSION_1_0: "1.0",
    pycurl.CURL_HTTP_VERSION_1_1: "1.1",
    pycurl.CURL_HTTP_VERSION_2_0: "2",
}


def http(method: str, url: str, **wishes: Any) -> HttpAnswer:
    return perform(HttpCall(method, url, **wishes))


def perform(call: HttpCall) -> HttpAnswer:
    """On a connection of its own. Raises pycurl.error as libcurl does."""
    curl, finish = _prepare(call)
    try:
        curl.perform()
        return finish()
    finally:
        curl.close()


def http_many(calls: list[HttpCall]) -> None:
    """All at once over one HTTP/2 connection; each call gets its answer or error."""
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_PIPELINING, 2)
    multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
    open_calls: dict[pycurl.Curl, tuple[HttpCall, Callable[[], HttpAnswer]]] = {}
    for call in calls:
        curl, finish = _prepare(call)
        curl.setopt(pycurl.PIPEWAIT, 1)
        multi.add_handle(curl)
        open_calls[curl] = (call, finish)
    while open_calls:
        multi.perform()
        _, succeeded, failed = multi.info_read()
        for curl in succeeded:
            call, finish = open_calls.pop(curl)
            call.answer = finish()
            multi.remove_handle(curl)
        for curl, number, _ in failed:
            open_calls.pop(curl)[0].error = number
            multi.remove_handle(curl)
        if open_calls:
            multi.select(0.1)
    multi.close()


def _prepare(call: HttpCall) -> tuple[pycurl.Curl, Callable[[], HttpAnswer]]:
    body = io.BytesIO()
    heads: list[bytes] = []
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, call.url)
    curl.setopt(pycurl.CUSTOMREQUEST, call.method)
    curl.setopt(pycurl.HTTP_VERSION, call.version)
    curl.setopt(pycurl.TIMEOUT_MS, int(call.timeout * 1000))
    curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in call.headers.items()])
    curl.setopt(pycurl.WRITEDATA, body)
    curl.setopt(pycurl.HEADERFUNCTION, heads.append)
    if call.ca_file is not None:
        curl.setopt(pycurl.CAINFO, str(call.ca_file))
    if call.body:
        curl.setopt(pycurl.POSTFIELDS, call.body)

    def finish() -> HttpAnswer:
        pairs = (head.decode("latin-1").partition(":") for head in heads if b":" in head)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        version = VERSIONS.get(curl.getinfo(pycurl.INFO_HTTP_VERSION), "?")
        return HttpAnswer(curl.getinfo(pycurl.RESPONSE_CODE), version, headers, body.getvalue())

    return curl, finish


def assertion(account: Mapping[str, str], *, key: str | None = None, **claims: Any) -> str:
    """What a service account signs to get a token; `claims` replace the usual ones, None takes one away."""
    now = int(time.time())
    usual = {"iss": account["client_email"], "scope": SCOPE, "aud": account["token_uri"], "iat": now, "exp": now + 3600}
    wanted = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    return jwt.encode(wanted, key or account["private_key"], algorithm="RS256")


class FcmClient:
    def __init__(self, endpoint: str, ca_file: Path) -> None:
        self.endpoint = endpoint
        self.ca_file = ca_file
        self.token = ""

    def ask_for_token(self, token_uri: str, signed: str, grant_type: str = GRANT_TYPE) -> HttpAnswer:
        form = urlencode({"grant_type": grant_type, "assertion": signed}).encode()
        return http("POST", token_uri, body=form, ca_file=self.ca_file)

    def authorize(self, account: Mapping[str, str]) -> None:
        answer = self.ask_for_token(account["token_uri"], assertion(account))
        self.token = answer.json["access_token"]

    def call(self, message: Any, *, project: str = "demo", **wishes: Any) -> HttpCall:
        """A send request for a message; `body` instead sends those bytes."""
        body = wishes.pop("body", None) or json.dumps({"message": message}).encode()
        headers = {"authorization": f"Bearer {self.token}", **wishes.pop("headers", {})}
        url = f"{self.endpoint}/v1/projects/{project}/messages:send"
        return HttpCall("POST", url, body=body, headers=headers, ca_file=self.ca_file, **wishes)

    def send(self, message: Any, **wishes: Any) -> HttpAnswer:
        return perform(self.call(message, **wishes))


class RawSmtp:
    """Bytes to an SMTP port and lines back."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), TIMEOUT_SECONDS)
        self._lines = self._socket.makefile("rb")
        self.greeting = self.reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._lines.close()
        self._socket.close()

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reply(self) -> bytes:
        """The last line of the next reply; b"" at the connection's end."""
        line = self._lines.readline()
        while line[3:4] == b"-":
            line = self._lines.readline()
        return line.rstrip(b"\r\n")

    def ask(self, data: bytes) -> bytes:
        self.write(data)
        return self.reply()

    def replies(self, count: int) -> list[int]:
        """The codes of so many replies."""
        return [int(self.reply()[:3]) for _ in range(count)]

    def codes(self, commands: Iterable[bytes]) -> list[int]:
        """One after the other."""
        return [int(self.ask(command)[:3]) for command in commands]
