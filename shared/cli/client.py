"""The command line as a client: which API it calls, and one request over HTTP."""

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import urlencode, urlsplit

import typer

from shared.cli.connection import read_connection
from shared.errors import ConfigurationError, NotReachable, RejectedRequest, TidingsError
from shared.settings import Settings, load_settings

TIMEOUT_SECONDS = 30.0

# what to do about a refusal, by its type
_HINTS = {
    "user_unauthorized": "Check key and project; `tidings key list` shows the keys there are.",
    "project_not_found": "Check the project; `tidings project list` shows the projects there are.",
    "general_unauthorized_scope": "Use a key that has it; `tidings key create --scope SCOPE` makes one.",
    "general_route_not_found": "Check the endpoint; it ends in /v1.",
    "message_not_found": "`tidings messages list` shows the messages there are.",
}

Endpoint = Annotated[
    str | None,
    typer.Option("--endpoint", metavar="URL", help="Address of the API, ending in /v1 (TIDINGS_API_ENDPOINT)."),
]
Project = Annotated[str | None, typer.Option("--project", metavar="ID", help="Project id (TIDINGS_API_PROJECT).")]
Key = Annotated[str | None, typer.Option("--key", metavar="SECRET", help="API key (TIDINGS_API_KEY).")]


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is and as whom to call it."""

    endpoint: str
    project: str
    key: str = field(repr=False)


def find_access(*, endpoint: str | None, project: str | None, key: str | None, directory: Path) -> Access | None:
    """From the options, else the settings, else the running `tidings up` of this directory; None: nothing is said.

    A key is never sent to an endpoint that it was not given for: what `tidings up` left is taken only when no
    other endpoint is named.
    """
    settings = load_settings()
    endpoint = endpoint or settings.api_endpoint
    project = project or settings.api_project
    key = key or (settings.api_key.get_secret_value() if settings.api_key else None)
    if endpoint is None:
        connection = read_connection(directory)
        if connection is None:
            return None
        return Access(connection.endpoint, project or connection.project, key or connection.key)
    if project is None or key is None:
        raise ConfigurationError(
            f"Calling {endpoint} needs a project and a key.",
            hint="Give --project and --key, or set TIDINGS_API_PROJECT and TIDINGS_API_KEY.",
        )
    return Access(endpoint, project, key)


def open_client(*, endpoint: str | None, project: str | None, key: str | None, directory: Path) -> "Client":
    """Raises ConfigurationError when nothing says which API to call."""
    access = find_access(endpoint=endpoint, project=project, key=key, directory=directory)
    if access is None:
        raise ConfigurationError(
            "No API to call is known.",
            hint="Give --endpoint, --project and --key (or TIDINGS_API_*), or run `tidings up`.",
        )
    return Client(access, load_settings())


class Client:
    """Requests to the API, one connection each."""

    def __init__(self, access: Access, settings: Settings) -> None:
        if not _is_api_address(access.endpoint):
            raise ConfigurationError(
                f"{access.endpoint!r} is no address of an API.", hint="It looks like https://tidings.example.com/v1."
            )
        for name, text in (("project", access.project), ("key", access.key)):
            if not _is_plain(text):  # a header cannot carry it, and the library would show it
                raise ConfigurationError(
                    f"The {name} has characters that none has.",
                    hint=f"Did a space or a line end come with it? Check --{name} or TIDINGS_API_{name.upper()}.",
                )
        self._address = urlsplit(access.endpoint)
        self._access = access
        self._ca_file = settings.ca_file

    def get(self, path: str, parameters: Sequence[tuple[str, str]] = ()) -> Any:
        return self._request("GET", path, parameters)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        try:
            content = json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError("The text is not UTF-8.", hint="Convert it first, as iconv does.") from error
        return self._request("POST", path, content=content, headers={"Content-Type": "application/json"})

    def delete(self, path: str, parameters: Sequence[tuple[str, str]] = ()) -> None:
        self._request("DELETE", path, parameters)

    def upload(self, path: str, file: BinaryIO, *, size: int, parameters: Sequence[tuple[str, str]]) -> Any:
        """Stream a CSV file. The answer may take as long as the server works on it."""
        headers = {"Content-Type": "text/csv", "Content-Length": str(size)}
        return self._request("POST", path, parameters, content=file, headers=headers, timeout=None)

    def _request(
        self,
        method: str,
        path: str,
        parameters: Sequence[tuple[str, str]] = (),
        *,
        content: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = TIMEOUT_SECONDS,
    ) -> Any:
        query = "?" + urlencode(parameters, errors="surrogateescape") if parameters else ""
        target = f"{self._address.path.rstrip('/')}{path}{query}"
        connection = self._connect(timeout)
        try:
            connection.request(method, target, content, {**self._credentials(), **(headers or {})})
            response = connection.getresponse()
            return _answer(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise NotReachable(
                f"The API at {self._address.scheme}://{self._address.netloc.rpartition('@')[2]} does not answer: "
                f"{getattr(error, 'strerror', None) or error or type(error).__name__}.",
                hint="Check the endpoint, and that `tidings api` or `tidings up` is running there.",
            ) from error
        finally:
            connection.close()

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        context = ssl.create_default_context()
        if self._ca_file:
            context.load_verify_locations(self._ca_file)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _credentials(self) -> dict[str, str]:
        return {"X-Appwrite-Project": self._access.project, "X-Appwrite-Key": self._access.key}


def _is_api_address(endpoint: str) -> bool:
    try:
        address = urlsplit(endpoint)
        host = address.hostname or ""
        http.client.HTTPConnection(host, address.port)  # connects nowhere; refuses what cannot be a host
        host.encode("idna")
    except (ValueError, http.client.InvalidURL):
        return False
    return address.scheme in {"http", "https"} and bool(host) and (not address.path or _is_plain(address.path))


def _is_plain(text: str) -> bool:
    """Visible ASCII only."""
    return text.isascii() and text.isprintable() and " " not in text


def _answer(status: int, body: bytes) -> Any:
    try:
        answer = json.loads(body) if body else None
    except ValueError as error:
        raise TidingsError(
            f"The endpoint answered with status {status} and something that is not JSON.",
            hint="Is it the address of a Tidings API, with /v1 at its end?",
        ) from error
    if status < 400:
        return answer
    message = answer.get("message", "") if isinstance(answer, dict) else ""
    if status in {502, 503, 504}:
        raise NotReachable(f"The API cannot serve now: {message or status}")
    kind = str(answer.get("type", "")) if isinstance(answer, dict) else ""
    raise RejectedRequest(kind, message or f"Status {status}", hint=_HINTS.get(kind))
