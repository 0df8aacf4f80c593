"""While somebody sends what takes long to read, the process is alive for everybody else.

A process of its own, so that its event loop is shared with nobody; a watcher asks it all the time whether it lives, and
a neighbour, with a key of another project, accepts messages. Both have to be served in the midst of each hostile
request, or the request must be over before they could be.
"""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.db.receipt_addresses import ReceiptAddresses
from shared.db.secrets import read_secret_keys
from shared.settings import Settings
from tests.factories import Factory
from tests.integration.api.api_process import ApiProcess, environment_of, serving

MEGABYTE = 1024 * 1024
PIECE_SECONDS = 0.25
"""In which an idle process answers hundreds of times. A request that is over sooner need not be watched."""


@dataclass(slots=True)
class Watch:
    """Somebody who calls again and again on one connection, and counts the answers."""

    port: int
    ask: Callable[[http.client.HTTPConnection], None]
    answers: int = 0
    wrong: list[int] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.is_over.is_set():
            self.ask(connection)
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 300:
                self.wrong.append(answer.status)
            self.answers += 1
        connection.close()


@dataclass(slots=True)
class Scene:
    """The process, the one who attacks with a key of "acme", and the others."""

    api: ApiProcess
    settings: Settings
    factory: Factory
    neighbour: Factory
    watches: list[Watch]

    @property
    def key(self) -> dict[str, str]:
        return {"X-Appwrite-Project": self.factory.project_id, "X-Appwrite-Key": self.factory.key}

    @property
    def guest(self) -> dict[str, str]:
        return {"X-Appwrite-Project": self.factory.project_id}

    def attack(self, method: str, path: str, headers: dict[str, str], body: str | bytes | None = None) -> int:
        """The status. Meanwhile everybody was served, in each piece of time that it lasted."""
        statuses: list[int] = []

        def send() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.api.port, timeout=60)
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers)
            statuses.append(connection.getresponse().status)
            connection.close()

        attacker = threading.Thread(target=send)
        attacker.start()
        before = [watch.answers for watch in self.watches]
        attacker.join(PIECE_SECONDS)
        while attacker.is_alive():
            attacker.join(4 * PIECE_SECONDS)  # generous: the machine may be busy, and one blocked loop lasts longer
            now = [watch.answers for watch in self.watches]
            assert all(after > earlier for after, earlier in zip(now, before, strict=True)), "nobody else was served"
            before = now
        assert [watch.wrong for watch in self.watches] == [[] for _ in self.watches]
        (status,) = statuses
        return status


@pytest.fixture(scope="module")
def scene(api_settings: Settings) -> Iterator[Scene]:
    settings = api_settings
    attacker, neighbour = Factory(settings, project_id="hostile"), Factory(settings, project_id="neighbour")
    environment = environment_of(settings) | {"TIDINGS_RATE_LIMITS": "false"}
    with serving(environment) as api:
        message = json.dumps({"messageId": "unique()", "title": "T", "draft": True})
        of_neighbour = {
            "X-Appwrite-Project": neighbour.project_id,
            "X-Appwrite-Key": neighbour.key,
            "Content-Type": "application/json",
        }
        watches = [
            Watch(api.port, lambda connection: connection.request("GET", "/live")),
            Watch(
                api.port,
                lambda connection: connection.request("POST", "/v1/messaging/messages/push", message, of_neighbour),
            ),
        ]
        assert api.process.stderr is not None
        logged = threading.Thread(target=api.process.stderr.read)  # or it would wait for somebody to read its log
        threads = [logged, *(threading.Thread(target=watch.run) for watch in watches)]
        for thread in threads:
            thread.start()
        scene = Scene(api, settings, attacker, neighbour, watches)
        scene.attack("POST", "/v1/storage/buckets", scene.key | JSON, OPEN_BUCKET)
        scene.attack("POST", "/v1/databases", scene.key | JSON, json.dumps({"databaseId": "d", "name": "D"}))
        scene.attack("POST", "/v1/databases/d/collections", scene.key | JSON, OPEN_COLLECTION)
        try:
            yield scene
        finally:
            for watch in watches:
                watch.is_over.set()
            api.process.terminate()
            for thread in threads:
                thread.join()


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PARTS = {"Content-Type": "multipart/form-data; boundary=b"}
OPEN_BUCKET = json.dumps({"bucketId": "b", "name": "B", "permissions": ['create("any")']})
OPEN_COLLECTION = json.dumps(
    {
        "collectionId": "c",
        "name": "C",
        "permissions": ['create("any")'],
        "attributes": [{"key": "addresses", "type": "email", "array": True}],
    }
)


def part(name: str, value: str) -> str:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "Android " * 8_000 + "; " + " Build/" * 8_000},
        {"Cookie": 'a_session_hostile="' + "\\\\" * 60_000 + '"'},
        {"Cookie": "a=b;" * 60_000},
        {"Origin": "http://[" + ":" * 200_000 + "]"},
        {"X-Appwrite-JWT": "eyJ" + "a" * 200_000 + ".e.e"},
        {"X-Fallback-Cookies": "[" * 200 + "1," * 100_000},
        {"Range": "bytes=" + "1" * 200_000},
        {"Content-Type": "multipart/form-data; boundary=b" + ";" * 200_000},
        {"Content-Type": "multipart/form-data; boundary=b; charset=punycode"},
        {f"A{number}": "" for number in range(95)},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_headers(scene: Scene, headers: dict[str, str]) -> None:
    body = part("email", "a" * 500_000 + "-" + "b" * 500_000) + "--b--"
    assert scene.attack("POST", "/v1/account", JSON | scene.guest | headers, body) in {400, 401, 403}


COMPARING = [
    json.dumps({"method": "contains", "attribute": "status", "values": ["a"] * 490}, separators=(",", ":")),
    json.dumps({"method": "equal", "attribute": "$createdAt", "values": ["2030-01-01"] * 290}, separators=(",", ":")),
    json.dumps({"method": "or", "values": [{"method": "isNull", "attribute": "$id"}] * 80}, separators=(",", ":")),
]


@pytest.mark.parametrize(
    "query",
    ["a&" * 30_000, "a[0]&" * 12_000, *("&".join(f"queries[{n}]={text}" for n in range(12)) for text in COMPARING)],
    ids=["fields", "brackets", "contains", "equal", "or"],
)
def test_queries(scene: Scene, query: str) -> None:
    assert scene.attack("GET", f"/v1/messaging/messages?{query}", scene.key) == 400


EMAIL = {"messageId": "unique()", "subject": "S", "content": "C"}
PUSH = {"messageId": "unique()", "title": "T", "draft": True}


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/messaging/messages/email", {**EMAIL, "emails": ["é@é.cd"] * 80_000}),
        ("/messaging/messages/email", {**EMAIL, "emails": ["é@é.cd"] * 10_000}),
        ("/messaging/messages/email", {**EMAIL, "targets": [str(number) for number in range(90_000)]}),
        ("/messaging/messages/email", {**EMAIL, "targets": ["-"] * 200_000}),
        ("/messaging/messages/email", {**EMAIL, "cc": ["a"] * 200_000}),
        ("/messaging/messages/email", {**EMAIL, "attachments": ["a:b"] * 150_000}),
        ("/messaging/messages/push", {**PUSH, "data": {str(number): {} for number in range(80_000)}}),
        ("/messaging/messages/push", {**PUSH, "data": json.dumps({"a": [[]] * 150_000})}),
        ("/messaging/messages/push", {**PUSH, "data": {"a": ["\0"] * 100_000}}),
        ("/users", {"userId": "u", "email": "a." * 500_000, "password": "1" * 9}),
        ("/users", {"userId": "u", "phone": "+1" * 500_000}),
        ("/users", {str(number): [] for number in range(80_000)}),
        (
            "/databases/d/collections/c/documents",
            {"documentId": "unique()", "data": {"addresses": ["é@é.cd"] * 80_000}},
        ),
        ("/databases/d/collections/c/documents", {"documentId": "unique()", "data": {"addresses": ["é@.cd"] * 5_000}}),
    ],
)
def test_json(scene: Scene, path: str, parameters: dict[str, Any]) -> None:
    body = json.dumps(parameters, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(body) < MEGABYTE
    assert scene.attack("POST", f"/v1{path}", scene.key | JSON, body) in {400, 404}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, "a=b&" * 250_000),
        (FORM, "a=" + "%41" * 330_000),
        (PARTS, "--b\r\nContent-Disposition: form-data; " + "a=b; " * 200_000 + "\r\n\r\n\r\n--b--"),
        (PARTS, ("--b\r\nContent-Disposition: form-data; name=a; " + "a=b; " * 800 + "\r\n\r\n\r\n") * 240 + "--b--"),
        (PARTS, part("a", "b") * 15_000 + "--b--"),
        (PARTS, part("a", "\r\n--" * 240_000) + "--b--"),
    ],
    ids=["fields", "escapes", "head", "heads", "parts", "dashes"],
)
def test_forms(scene: Scene, content_type: dict[str, str], body: str) -> None:
    assert scene.attack("POST", "/v1/account", scene.guest | content_type, body) == 400


def test_an_upload_of_boundaries_that_are_none(scene: Scene) -> None:
    file = '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + "\r\n--" * 4 * MEGABYTE
    body = part("fileId", "unique()") + file + "\r\n--b--"
    assert scene.attack("POST", "/v1/storage/buckets/b/files", scene.guest | PARTS, body) == 201


@pytest.mark.parametrize("kind", ["textmagic", "vonage", "msg91", "mailgun", "ses", "twilio", "telesign"])
def test_receipts_before_their_signature_is_looked_at(scene: Scene, kind: str) -> None:
    seq = scene.factory.provider(kind, kind, credentials={})
    place = ReceiptAddresses(read_secret_keys(scene.settings), None).place_of(seq)
    reports = '{"requestId":"1",' + '"a":1,' * 10_000 + '"data":['
    for content_type, body in (
        (PARTS, "--b\r\nContent-Disposition: form-data; " + "a=b; " * 50_000 + "\r\n\r\n\r\n--b--"),
        (PARTS, "--b\r\nContent-Disposition: form-data" + ";" * 20_000 + "\r\n\r\n\r\n--b--"),
        (FORM, "a=b&" * 60_000),
        (JSON, "[" + "1," * 100_000 + "1]"),
        (JSON, "[" * 200_000),
        (JSON, "[" + "1," * 4_000_000 + "1]"),
        (JSON, reports + ",".join(f'{{"number":"{n}","status":"1"}}' for n in range(5_000)) + "]}"),
    ):
        assert scene.attack("POST", f"/v1/tidings/receipts/{place}", content_type, body) in {200, 401, 413}


@pytest.mark.parametrize(
    "file",
    [
        ",".join(["push_token"] * 400) + ",topics\n" + "a,b" * 199 + ",c" * 3 + ";" * 400 + "\n",
        ",".join(["push_token"] * 50)
        + ",topics\n"
        + "".join(
            ",".join(f"{row}-{n}" for n in range(50)) + "," + ";".join(f"t{n}" for n in range(100)) + "\n"
            for row in range(4)
        ),
        "email\n" + "".join(f"é{n}@é.cd\n" for n in range(5_000)),
        "email,topics\n" + f"a@example.com,{';'.join(['-'] * 400_000)}\n",
        "email" + ",unknown" * 100_000 + "\n",
    ],
    ids=["product", "subscriptions", "addresses", "faults", "columns"],
)
def test_contact_files(scene: Scene, file: str) -> None:
    assert scene.attack("POST", "/v1/tidings/imports", scene.key | {"Content-Type": "text/csv"}, file) in {201, 400}
