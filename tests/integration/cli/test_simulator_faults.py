"""`tidings simulator faults`, on a simulator that runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from shared.simulator.simulator import Simulator
from tests.integration.cli.conftest import Finished, Tidings

USAGE, NOT_REACHABLE = 2, 4

Faults = Callable[..., Awaitable[Finished]]


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with Simulator.running(tmp_path / "simulator") as simulator:
        yield simulator


@pytest.fixture
def faults(tidings: Tidings, simulator: Simulator) -> Faults:
    async def run(*arguments: str) -> Finished:
        command = ("simulator", "faults", *arguments, "--dir", str(simulator.directory))
        return await asyncio.to_thread(tidings, *command)

    return run


async def test_they_are_set_shown_and_cleared(faults: Faults, simulator: Simulator) -> None:
    assert (await faults("show")).stdout == "Every provider behaves well.\n"

    told = await faults("set", "fcm", "latency_ms=200", "dead_rate=0.1", "server_error_statuses=[500]")
    assert [line.split() for line in told.stdout.splitlines()] == [
        ["PROVIDER", "FIELD", "VALUE"],
        ["fcm", "latency_ms", "200.0"],
        ["fcm", "dead_rate", "0.1"],
        ["fcm", "server_error_statuses", "[500]"],
    ]
    assert simulator.faults.plans["fcm"].profile.dead_rate == 0.1

    again = json.loads((await faults("set", "fcm", "throttle_rate=0.2", "--json")).stdout)
    assert (again["throttle_rate"], again["dead_rate"]) == (0.2, 0.0)
    await faults("set", "smtp", "username=ada", "password=secret")
    assert "secret" not in (await faults("show")).stdout

    assert "throttle_rate" not in (await faults("clear", "fcm")).stdout
    assert (await faults("clear")).stdout == "Every provider behaves well.\n"


async def test_every_field_can_be_seen(faults: Faults, simulator: Simulator) -> None:
    shown = json.loads((await faults("show", "--json")).stdout)
    assert shown.keys() == simulator.faults.plans.keys()
    assert shown["fcm"]["latency_ms"] == 0.0


async def test_magic_recipients_are_listed(faults: Faults) -> None:
    listed = (await faults("magic")).stdout
    assert "404 UNREGISTERED" in listed
    assert "5550190" in listed
    words = json.loads((await faults("magic", "--json")).stdout)
    assert words["smtp"][0] == {"word": "dead", "fate": "dead_address", "reply": "550 5.1.1 at RCPT", "once": False}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("set", "fax", "latency_ms=1"), "No provider 'fax'"),
        (("set", "fcm", "latency_ms=fast"), "latency_ms"),
        (("set", "fcm", "latency"), "FIELD=VALUE"),
        (("clear", "fax"), "No provider 'fax'"),
    ],
)
async def test_wrong_wishes(faults: Faults, arguments: tuple[str, ...], complaint: str) -> None:
    finished = await faults(*arguments)
    assert finished.status == USAGE
    assert complaint in finished.stderr


def test_without_a_simulator(tidings: Tidings, tmp_path: Path) -> None:
    nobody = tidings("simulator", "faults", "show")
    assert (nobody.status, nobody.stderr.splitlines()[0]) == (
        NOT_REACHABLE,
        "Error: No simulator runs on .tidings/simulator.",
    )
    assert tidings("simulator", "faults", "show", "--url", "http://127.0.0.1:9").status == NOT_REACHABLE


def test_its_help(tidings: Tidings) -> None:
    assert "clear" in tidings("simulator", "faults", "--help").stdout
