"""Tidings as an operator has it: a migrated database, a project with a key, and the real roles as processes."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from pydantic import SecretStr

from deploy.embedded import choose_port, spawn, stop
from shared.db.migrate import upgrade
from shared.db.queries.projects import create_api_key, create_project
from shared.db.secrets import new_secret_key
from shared.db.session import create_engine, create_sessions
from shared.domain.api_key import SCOPES
from shared.settings import Settings
from tests.benchmarks.audience import Audience
from tests.benchmarks.figures import NotMeasured
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
    def running(self, roles: Mapping[str, Sequence[str]], sinks: Sinks | None = None) -> Iterator["RunningRoles"]:
        """`roles`: module to its arguments. Provider traffic goes to the sinks; without them there should be none."""
        port = choose_port()
        environment = {**os.environ, **self._variables(port, sinks)}
        with ExitStack() as stack:
            pids = {}
            for module, arguments in roles.items():
                process = spawn(
                    [sys.executable, "-m", module, *arguments], log=self._log(module), environment=environment
                )
                stack.callback(stop, process, (signal.SIGTERM, STOP_SECONDS))
                pids[module] = process.pid
            running = RunningRoles(self, port, pids)
            if "api" in roles:
                running.await_api()
            yield running

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

    def _log(self, module: str) -> Path:
        return self.servers.directory / "logs" / f"{self.name}-{module}.log"


@dataclass(frozen=True, slots=True)
class RunningRoles:
    installation: Installation
    port: int
    pids: dict[str, int]  # by module

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST to the messaging API; the answer's body. Raises NotMeasured when it is no success."""
        answer = requests.post(
            f"http://127.0.0.1:{self.port}/v1/messaging/{path}",
            json=body,
            headers=self.installation.headers,
            timeout=30,
        )
        if not answer.ok:
            raise NotMeasured(f"POST {path}: {answer.status_code} {answer.text[:300]}")
        found: dict[str, Any] = answer.json()
        return found

    def await_api(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if requests.get(f"http://127.0.0.1:{self.port}/ready", timeout=5).ok:
                    return
            except requests.ConnectionError:
                pass  # not listening yet
            time.sleep(0.05)
        raise NotMeasured(f"the API is not ready after {START_SECONDS:.0f} s")


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
