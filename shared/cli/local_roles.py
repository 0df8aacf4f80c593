"""The roles as one machine runs them: where each listens, when it is ready, how long it may take to stop."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from deploy.embedded import choose_port, choose_ports
from shared.cli.supervisor import Role, answers_ok
from shared.domain.queues import PROVIDER_KINDS
from shared.settings import Settings
from shared.simulator.simulator import Ports

LOOPBACK = "127.0.0.1"

SPARE_SECONDS = 10.0
"""What a stopping worker needs beyond the provider calls it is in and what it allows itself after them."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """Where the running simulator listens."""

    endpoints: Mapping[str, str]  # provider kind -> where it is simulated
    inbox: str
    ca_file: str

    def variables(self) -> dict[str, str]:
        """What sends all provider traffic there."""
        return {
            **{f"TIDINGS_ENDPOINT_{kind.upper()}": where for kind, where in self.endpoints.items()},
            "TIDINGS_CA_FILE": self.ca_file,
        }


def simulator_role(directory: Path) -> Role:
    """Its ports are fixed before it starts, so that workers find it again when it is started again."""
    names = [field.name for field in fields(Ports)]
    ready_file = directory / "simulator.json"
    ready_file.unlink(missing_ok=True)  # a killed one leaves it
    return Role(
        "simulator",
        "shared.simulator",
        (
            f"--dir={directory}",
            *(f"--{name}-port={port}" for name, port in zip(names, choose_ports(len(names)), strict=True)),
        ),
        is_ready=ready_file.exists,
        grace_seconds=5.0,
    )


def read_simulation(directory: Path) -> Simulation:
    """Call it once the simulator is ready."""
    said = json.loads((directory / "simulator.json").read_text())
    endpoints = {kind: said[kind] for kind in PROVIDER_KINDS if kind in said}
    return Simulation(endpoints, inbox=said["http"], ca_file=said["ca_file"])


def api_role(host: str, port: int) -> Role:
    return Role(
        "api",
        "api",
        # nobody balances: whoever calls is told at once
        environment={"TIDINGS_HOST": host, "TIDINGS_PORT": str(port), "TIDINGS_DRAIN_SECONDS": "0"},
        is_ready=lambda: answers_ok(f"http://{reachable(host)}:{port}/v1/health/version"),
    )


def scheduler_role(name: str = "scheduler") -> Role:
    environment, is_ready = _observed()
    return Role(name, "scheduler", environment=environment, is_ready=is_ready, grace_seconds=15.0)


def worker_role(name: str, settings: Settings, *arguments: str) -> Role:
    """`arguments` of `tidings worker`. One process each, so that N of them are N."""
    environment, is_ready = _observed()
    return Role(
        name,
        "workers",
        ("--concurrency=1", *arguments),
        environment=environment,
        is_ready=is_ready,
        grace_seconds=settings.longest_call_seconds + SPARE_SECONDS,
    )


def reachable(host: str) -> str:
    """The address under which this machine reaches what listens on `host`."""
    wildcards = {"0.0.0.0": LOOPBACK, "::": "[::1]"}  # noqa: S104  # nothing is bound here
    return wildcards.get(host, f"[{host}]" if ":" in host else host)


def _observed() -> tuple[dict[str, str], Callable[[], bool]]:
    """A port for metrics and readiness, on loopback only: the variables that set it, the question that asks there."""
    port = choose_port()
    environment = {"TIDINGS_HOST": LOOPBACK, "TIDINGS_METRICS_PORT": str(port)}
    return environment, lambda: answers_ok(f"http://{LOOPBACK}:{port}/ready")
