"""Tidings as an operator has it: a migrated database, a project with a key, and the real roles as processes."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
from pydantic import SecretStr

from deploy.embedded import choose_port
from deploy.embedded.child import last_words
from shared.cli.supervisor import Role, Supervisor, answers_ok
from shared.db.migrate import upgrade
from shared.db.queries.projects import create_api_key, create_project
from shared.db.secrets import new_secret_key
from shared.db.session import create_engine, create_sessions
from shared.domain.api_key import SCOPES
from shared.settings import Settings
from tests.benchmarks.audience import Audience
from tests.benchmarks.figures import WrongResult
from tests.benchmarks.servers import Servers
from tests.benchmarks.sinks import Sinks

PROJECT_ID = "bench"
START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Installation:
    """A database and its settings. No process runs until roles are started."""

    servers: Servers
    name: str
    settings: Settings
    key: str
    audience: Audience

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Appwrite-Project": PROJECT_ID, "X-Appwrite-Key": self.key}

    @contextmanager
    def running(
        self,
        roles: Mapping[str, Sequence[str]],
        sinks: Sinks | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Iterator["RunningRoles"]:
        """`roles`: module to its arguments; `variables`: settings on top of the defaults.

        Provider traffic goes to the sinks; without them there should be none.

        Raises EngineError with the API's last words when it does not get ready.
        """
        port = choose_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
        supervisor = Supervisor(
            self.servers.directory / "logs",
            inherited | self._variables(port, sinks) | dict(variables or {}),
            on_event=print,
        )
        running = RunningRoles(self, supervisor, tuple(roles), f"http://127.0.0.1:{port}")
        readiness = {"api": partial(answers_ok, f"{running.address}/ready")}
        try:
            for module, arguments in roles.items():
                supervisor.start(
                    Role(
                        f"{self.name}-{module}",
                        module,
                        tuple(arguments),
                        is_ready=readiness.get(module, lambda: True),
                        grace_seconds=STOP_SECONDS,
                    )
                )
            supervisor.await_ready(timeout_seconds=START_SECONDS)
            yield running
        finally:
            supervisor.stop()

    def _variables(self, port: int, sinks: Sinks | None) -> dict[str, str]:
        assert self.settings.secret_keys
        variables = {
            "TIDINGS_DATABASE_URL": self.settings.require_database_url(),
            "TIDINGS_BROKER_URL": self.settings.require_broker_url(),
            "TIDINGS_SECRET_KEYS": self.settings.secret_keys.get_secret_value(),
            "TIDINGS_PORT": str(port),
            "TIDINGS_LOG_LEVEL": "warning",
        }
        if sinks:
            variables |= {
                "TIDINGS_ENDPOINT_FCM": sinks.fcm_url,
                "TIDINGS_ENDPOINT_SMTP": f"127.0.0.1:{sinks.smtp_port}",
                "TIDINGS_CA_FILE": str(sinks.ca_file),
            }
        return variables


@dataclass(frozen=True, slots=True)
class RunningRoles:
    installation: Installation
    supervisor: Supervisor
    modules: tuple[str, ...]
    address: str  # of the API, without a path

    def pid(self, module: str) -> int:
        """Raises WrongResult with its last words when the role has exited."""
        name = f"{self.installation.name}-{module}"
        pid = self.supervisor.process_id(name)
        if pid is None:
            raise WrongResult(f"{module} exited: {last_words(self.supervisor.log_of(name))}")
        return pid

    @property
    def pids(self) -> set[int]:
        """Of all roles that were started."""
        return {self.pid(module) for module in self.modules}

    def check_alive(self) -> None:
        """Raises WrongResult when one of them has exited."""
        for module in self.modules:
            self.pid(module)

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST to the messaging API; the answer's body. Raises WrongResult when it is no success."""
        answer = requests.post(
            f"{self.address}/v1/messaging/{path}",
            json=body,
            headers=self.installation.headers,
            timeout=30,
        )
        if not answer.ok:
            raise WrongResult(f"POST {path}: {answer.status_code} {answer.text[:300]}")
        found: dict[str, Any] = answer.json()
        return found


def install(servers: Servers, name: str, *, redis_database: int) -> Installation:
    """A new installation with one project, on a database and a broker database of its own."""
    settings = Settings(
        database_url=servers.create_database(name),
        broker_url=servers.redis.url_of(redis_database),
        secret_keys=SecretStr(new_secret_key()),
    )
    upgrade(settings.require_database_url())
    project_seq, key = asyncio.run(_create_project(settings))
    return Installation(servers, name, settings, key, Audience(settings.require_database_url(), project_seq))


async def _create_project(settings: Settings) -> tuple[int, str]:
    engine = create_engine(settings, role="bench")
    try:
        async with create_sessions(engine).begin() as session:
            project = await create_project(session, id=PROJECT_ID, name="Benchmarks")
            assert project
            _, key = await create_api_key(session, project, name="bench", scopes=SCOPES)
            return project.seq, key
    finally:
        await engine.dispose()
