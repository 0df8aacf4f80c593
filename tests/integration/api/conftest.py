"""The real server on loopback over a real database; each test has a project of its own in it."""

import base64
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import psycopg
import pytest
import requests
import uvicorn
from pydantic import SecretStr

from api.__main__ import create_server, open_socket
from shared.settings import Settings
from tests.conftest import Engines
from tests.factories import Factory
from tests.s3_server import Bucket, object_settings, serve_bucket

_projects = count(1)


@dataclass(slots=True)
class RunningApi:
    """The API in a thread of this process."""

    settings: Settings
    address: str

    @property
    def endpoint(self) -> str:
        return f"{self.address}/v1"


@contextmanager
def run_api(settings: Settings) -> Iterator[RunningApi]:
    with open_socket(settings) as listening:
        listening.listen()
        server = create_server(settings.model_copy(update={"drain_seconds": 0.0}))
        thread = threading.Thread(target=uvicorn.Server.run, args=(server, [listening]))
        thread.start()
        try:
            # no need to wait until it serves: connections do
            yield RunningApi(settings, f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def settings_over(engines: Engines, template: str, *, database: str, allowed_origins: str) -> Iterator[Settings]:
    """Of an API with a database of this name, which is there as long as the block."""
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database} TEMPLATE {template}".encode())
    yield Settings(
        database_url=engines.postgres.url_of(database),
        broker_url=engines.redis.url,
        secret_keys=SecretStr(f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}"),
        port=0,
        key_cache_seconds=0,
        allowed_origins=allowed_origins,
    )
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def api_settings(engines: Engines, migrated_template: str) -> Iterator[Settings]:
    """One database for all tests of the API: what they must not share is their project."""
    with settings_over(engines, migrated_template, database="test_api", allowed_origins="app.example.com") as settings:
        yield settings


@pytest.fixture(scope="session")
def running_api(api_settings: Settings) -> Iterator[RunningApi]:
    with run_api(api_settings) as running:
        yield running


@pytest.fixture(scope="session")
def objects() -> Iterator[Bucket]:
    """The other side of S3."""
    with serve_bucket() as bucket:
        yield bucket


@pytest.fixture(scope="session")
def api_with_objects(api_settings: Settings, objects: Bucket) -> Iterator[RunningApi]:
    """Another server over the same database, which keeps files in object storage."""
    with run_api(api_settings.model_copy(update=object_settings(objects))) as running:
        yield running


@dataclass(slots=True)
class Answer:
    status: int
    body: Any
    headers: requests.structures.CaseInsensitiveDict[str]

    @property
    def type(self) -> str:
        """The contract's word for an error."""
        return str(self.body["type"])

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.type


@dataclass(slots=True)
class Caller:
    """One project's key, over one kept connection. Paths are those below /v1."""

    endpoint: str
    project_id: str
    key: str
    factory: Factory
    session: requests.Session = field(default_factory=requests.Session)

    def __call__(self, method: str, path: str, **options: Any) -> Answer:
        headers = {"X-Appwrite-Project": self.project_id, "X-Appwrite-Key": self.key, **options.pop("headers", {})}
        given = {name: value for name, value in headers.items() if value is not None}
        response = self.session.request(method, self.endpoint + path, headers=given, timeout=10, **options)
        is_json = response.headers["content-type"].startswith("application/json")
        return Answer(response.status_code, response.json() if is_json else response.content, response.headers)

    def get(self, path: str, **options: Any) -> Answer:
        return self("GET", path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> Answer:
        return self("POST", path, json=body, **options)

    def patch(self, path: str, body: object = None, **options: Any) -> Answer:
        return self("PATCH", path, json=body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self("DELETE", path, **options)

    def create(self, path: str, body: object) -> Any:
        """The body of what was created; the test fails when it was refused."""
        answer = self.post(path, body)
        assert answer.status == 201, answer.body
        return answer.body

    def create_user(self, user_id: str = "unique()", **parameters: object) -> Any:
        return self.create("/users", {"userId": user_id, **parameters})

    def create_topic(self, topic_id: str = "unique()", **parameters: object) -> Any:
        return self.create("/messaging/topics", {"topicId": topic_id, "name": "News", **parameters})

    def create_target(self, user_id: str, identifier: str, **parameters: object) -> Any:
        given = {"targetId": "unique()", "providerType": "push", "identifier": identifier, **parameters}
        return self.create(f"/users/{user_id}/targets", given)

    def subscribe(self, topic_id: str, target_id: str, subscriber_id: str = "unique()") -> Any:
        path = f"/messaging/topics/{topic_id}/subscribers"
        return self.create(path, {"subscriberId": subscriber_id, "targetId": target_id})

    def create_email(self, message_id: str = "unique()", **parameters: object) -> Any:
        given = {"messageId": message_id, "subject": "Hello", "content": "Hello there.", **parameters}
        return self.create("/messaging/messages/email", given)

    def create_push(self, message_id: str = "unique()", **parameters: object) -> Any:
        return self.create("/messaging/messages/push", {"messageId": message_id, "title": "Hello", **parameters})

    def rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """What the database holds. `%(project)s` is the caller's project."""
        with self.factory.connect() as connection:
            return connection.execute(
                statement.encode(), {"project": self.factory.project_seq, **parameters}
            ).fetchall()


def make_caller(running_api: RunningApi) -> Caller:
    project_id = f"project-{next(_projects)}"
    factory = Factory(running_api.settings, project_id=project_id)
    return Caller(running_api.endpoint, project_id, factory.key, factory)


@pytest.fixture
def caller(running_api: RunningApi) -> Iterator[Caller]:
    caller = make_caller(running_api)
    with caller.session:
        yield caller


@pytest.fixture
def stranger(running_api: RunningApi) -> Iterator[Caller]:
    """A key of another project."""
    stranger = make_caller(running_api)
    with stranger.session:
        yield stranger
