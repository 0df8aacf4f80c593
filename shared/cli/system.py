"""A whole installation on this machine: engines, a first project and every role, started and stopped as one."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.embedded import DataDirectory, EmbeddedPostgres, EmbeddedRedis, Progress, choose_port, is_port_free
from shared.cli.connection import (
    Connection,
    forget_environment,
    load_readable_settings,
    read_connection,
    write_connection,
    write_environment,
    write_private,
)
from shared.cli.database import migrate_database
from shared.cli.first_project import ensure_project, read_is_live
from shared.cli.local_roles import (
    Simulation,
    api_role,
    reachable,
    read_simulation,
    scheduler_role,
    simulator_role,
    worker_role,
)
from shared.cli.supervisor import Role, Supervisor
from shared.db.reachable import check_database
from shared.db.secrets import new_secret_key
from shared.errors import ConfigurationError
from shared.queue.probe import probe_broker
from shared.settings import Settings

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    directory: Path
    workers: int
    port: int | None = None  # of the API; None: as the settings say; 0: a free one
    has_simulator: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)  # further TIDINGS_* of every role
    postgres_settings: Mapping[str, str] = field(default_factory=dict)  # of the embedded one, such as fsync


class System:
    """Started by `start` or as a context manager; stopped by `stop`, in whatever state it is."""

    def __init__(self, plan: Plan, *, say: Progress, hurry: Callable[[], bool] = lambda: False) -> None:
        """`say` is told what happens, in lines for a person. `hurry` is asked while stopping: True ends all grace.

        Raises ConfigurationError for wrong settings and for an API port that is in use.
        """
        self._plan = plan
        self._say = say
        self._hurry = hurry
        self._settings = load_readable_settings()
        self._port = _free_port(self._settings.port if plan.port is None else plan.port, self._settings.host)
        self._stack = ExitStack()
        self._supervisor: Supervisor | None = None
        self.directory = DataDirectory(plan.directory)
        self.postgres: EmbeddedPostgres | None = None  # None: a server of the operator's own
        self.redis: EmbeddedRedis | None = None
        self.simulation: Simulation | None = None  # None: no simulator runs

    @property
    def supervisor(self) -> Supervisor:
        assert self._supervisor is not None, "not started"
        return self._supervisor

    @property
    def settings(self) -> Settings:
        """Those of the running system: with the servers and the secret key it has of its own."""
        return self._settings

    @property
    def roles(self) -> list[Role]:
        """Those that were started."""
        return self._supervisor.roles if self._supervisor else []

    @property
    def running(self) -> list[str]:
        """Engines and roles by name."""
        engines = {"Postgres": self.postgres, "Redis": self.redis}
        return [*(name for name, engine in engines.items() if engine), *(role.name for role in self.roles)]

    def start(self) -> Connection:
        """How to reach it, once every role is ready. What was started before an error is stopped again."""
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """API, scheduler, workers, simulator, Redis, Postgres: each waits for the one before."""
        self._stack.close()

    def watch(self) -> None:
        """One look: whatever exited is started again. Raises EngineError when an engine does not come back."""
        for engine, name in ((self.postgres, "Postgres"), (self.redis, "Redis")):
            if engine is not None and engine.process_id is None:
                self._say(f"{name} is gone; it starts again.")
                engine.start()
        self.supervisor.watch()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> Connection:
        self._check_own_servers()
        self._stack.enter_context(self.directory)
        self.directory.start_new_logs()
        variables = {**self._plan.variables, **self._start_engines(), **self._find_secret_key()}
        self._say("Bringing the database up to date ...")
        migrate_database(self._settings)
        project, key = ensure_project(self._settings, read_connection(self.directory.path))
        address = f"http://{reachable(self._settings.host)}:{self._port}"
        if self._settings.public_url is None:
            variables.setdefault("TIDINGS_PUBLIC_URL", address)  # where this machine's simulator posts receipts
        environment = {**os.environ, **variables, "TMPDIR": str(self._empty_scratch())}
        self._supervisor = Supervisor(self.directory.logs, environment, on_event=self._say)
        self._stack.callback(self._supervisor.stop, hurry=self._hurry)
        self._start_roles(variables)
        connection = Connection(endpoint=f"{address}/v1", project=project, key=key, console=f"{address}/console")
        write_connection(self.directory.path, connection)
        return connection

    def _check_own_servers(self) -> None:
        """Servers of the operator's own are asked first, before anything of ours starts."""
        if self._settings.database_url:
            check_database(self._settings)
        if self._settings.broker_url:
            probe_broker(self._settings)

    def _start_engines(self) -> dict[str, str]:
        """Start what the operator has no server for; the variables that tell roles of it."""
        variables = {}
        if not self._settings.database_url:
            postgres = EmbeddedPostgres(self.directory, settings=self._plan.postgres_settings, on_progress=self._say)
            self.postgres = self._stack.enter_context(postgres)
            variables["TIDINGS_DATABASE_URL"] = self.postgres.url
            self._settings = self._settings.model_copy(update={"database_url": self.postgres.url})
        if not self._settings.broker_url:
            self.redis = self._stack.enter_context(EmbeddedRedis(self.directory, on_progress=self._say))
            variables["TIDINGS_BROKER_URL"] = self.redis.url
            self._settings = self._settings.model_copy(update={"broker_url": self.redis.url})
        return variables

    def _find_secret_key(self) -> dict[str, str]:
        """Without one of the operator's own it is in DIR/secret.key, made at the first start."""
        if self._settings.secret_keys or self._settings.secret_key_file:
            return {}
        path = self.directory.path / "secret.key"
        if not path.exists():
            write_private(path, f"{new_secret_key()}\n")
        self._settings = self._settings.model_copy(update={"secret_key_file": path})
        return {"TIDINGS_SECRET_KEY_FILE": str(path)}

    def _empty_scratch(self) -> Path:
        """Where roles put temporary files: what a killed one leaves is gone with the next start."""
        scratch = self.directory.path / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        return scratch

    def _start_roles(self, variables: dict[str, str]) -> None:
        """The simulator first: workers trust its certificate authority, which it may have to make."""
        supervisor = self.supervisor
        if self._plan.has_simulator and not read_is_live(self._settings):
            self._say("Starting the simulator ...")
            directory = self.directory.path / "simulator"
            supervisor.start(simulator_role(directory))
            supervisor.await_ready("simulator", timeout_seconds=START_SECONDS)
            self.simulation = read_simulation(directory)
            variables |= self.simulation.variables()
            supervisor.environment.update(self.simulation.variables())
        write_environment(self.directory.path, variables)
        self._stack.callback(forget_environment, self.directory.path)
        self._say(f"Starting the API, the scheduler and {self._plan.workers} workers ...")
        supervisor.start(api_role(self._settings.host, self._port))
        supervisor.start(scheduler_role())
        for number in range(1, self._plan.workers + 1):
            supervisor.start(worker_role(f"worker-{number}", self._settings))
        supervisor.await_ready(timeout_seconds=START_SECONDS)


def _free_port(port: int, host: str) -> int:
    if port == 0:
        return choose_port()
    if not is_port_free(port, host):
        raise ConfigurationError(
            f"Port {port} of {host} is in use.",
            hint="Stop what listens there, or choose another one with --port (0 takes a free one).",
        )
    return port
