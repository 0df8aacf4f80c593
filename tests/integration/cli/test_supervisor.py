"""The supervisor, with small programs in the roles' places."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.cli.supervisor import STOP_ORDER, Role, Supervisor
from shared.errors import EngineError
from tests.processes import descendants, is_alive, wait_until

# Says when it is up, notes when it is told to stop, and has a child that never listens to anybody.
OBEDIENT = """
import os, pathlib, signal, subprocess, sys
name, notes = sys.argv[1], pathlib.Path(sys.argv[2])
def stop(number, frame):
    with notes.open("a") as file:
        file.write(name + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()"])
(notes.parent / (name + ".up")).touch()
while True:
    signal.pause()
"""

DEAF = OBEDIENT.replace("signal.signal(signal.SIGTERM, stop)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")

FAILING = "import sys; sys.exit('the sky is falling')"


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, events: list[str]) -> Iterator[Supervisor]:
    """Its roles are found in tmp_path; whatever a test leaves running is killed."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/__init__.py").touch()
    for module in STOP_ORDER:
        (tmp_path / f"{module.replace('.', '/')}.py").write_text(OBEDIENT)
    (tmp_path / "deaf.py").write_text(DEAF)
    (tmp_path / "failing.py").write_text(FAILING)
    supervisor = Supervisor(tmp_path, {**os.environ, "PYTHONPATH": str(tmp_path)}, on_event=events.append)
    yield supervisor
    supervisor.stop(hurry=lambda: True)


@pytest.fixture
def role(tmp_path: Path) -> Callable[..., Role]:
    def make(name: str, module: str, grace_seconds: float = 10.0) -> Role:
        return Role(
            name,
            module,
            (name, str(tmp_path / "notes")),
            is_ready=(tmp_path / f"{name}.up").exists,
            grace_seconds=grace_seconds,
        )

    return make


MakeRole = Callable[..., Role]


def process_of(supervisor: Supervisor, name: str) -> int:
    process = supervisor.process_id(name)
    assert process is not None
    return process


def watch_until(supervisor: Supervisor, is_so: Callable[[], bool]) -> None:
    def look() -> bool:
        supervisor.watch()
        return is_so()

    wait_until(look)


def test_roles_stop_in_order_whatever_order_they_started_in(
    supervisor: Supervisor, role: MakeRole, tmp_path: Path
) -> None:
    for module in reversed(STOP_ORDER):
        supervisor.start(role(module.replace("shared.", ""), module))
    supervisor.await_ready()
    leaders = [process_of(supervisor, role.name) for role in supervisor.roles]
    everybody = leaders + [child for leader in leaders for child in descendants(leader)]
    assert len(everybody) == 2 * len(STOP_ORDER)

    supervisor.stop()

    assert (tmp_path / "notes").read_text().split() == ["api", "scheduler", "workers", "simulator"]
    wait_until(lambda: not any(is_alive(process) for process in everybody))


def test_a_kill_takes_the_whole_process_group_and_nobody_else(supervisor: Supervisor, role: MakeRole) -> None:
    supervisor.start(role("worker-1", "workers"))
    supervisor.start(role("worker-2", "workers"))
    supervisor.await_ready()
    victim = process_of(supervisor, "worker-1")
    family = [victim, *descendants(victim)]
    assert len(family) == 2

    supervisor.kill("worker-1")

    wait_until(lambda: not any(is_alive(process) for process in family))
    assert supervisor.process_id("worker-1") is None
    assert supervisor.process_id("worker-2") is not None


def test_a_killed_role_is_said_and_started_again(supervisor: Supervisor, role: MakeRole, events: list[str]) -> None:
    supervisor.start(role("worker-1", "workers"))
    supervisor.await_ready()
    first = process_of(supervisor, "worker-1")
    supervisor.kill("worker-1")

    watch_until(supervisor, lambda: supervisor.process_id("worker-1") not in {None, first})

    assert events == ["worker-1 was ended by SIGKILL; it starts again in 0.5 s.", "worker-1 is started again."]


def test_a_role_that_keeps_failing_is_started_ever_more_slowly(supervisor: Supervisor, events: list[str]) -> None:
    supervisor.start(Role("failing", "failing"))
    watch_until(supervisor, lambda: len(events) == 3)
    assert events == [
        "failing exited with status 1; it starts again in 0.5 s.",
        "failing is started again.",
        "failing exited with status 1; it starts again in 1.0 s.",
    ]


def test_a_role_that_exits_before_it_is_ready_is_an_error_in_its_own_words(supervisor: Supervisor) -> None:
    supervisor.start(Role("failing", "failing", is_ready=lambda: False))
    with pytest.raises(EngineError, match=r"failing exited with status 1: the sky is falling"):
        supervisor.await_ready()


def test_a_role_that_never_gets_ready_is_an_error(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(Role("api", "deaf", ("api", str(tmp_path / "notes")), is_ready=lambda: False))
    with pytest.raises(EngineError, match="api does not get ready"):
        supervisor.await_ready(timeout_seconds=0.1)


@pytest.mark.parametrize(("grace_seconds", "hurry"), [(0.2, False), (60.0, True)])
def test_who_does_not_stop_in_time_is_killed(
    supervisor: Supervisor, role: MakeRole, events: list[str], tmp_path: Path, grace_seconds: float, *, hurry: bool
) -> None:
    (tmp_path / "workers.py").write_text(DEAF)
    supervisor.start(role("worker-1", "workers", grace_seconds))
    supervisor.await_ready()
    process = process_of(supervisor, "worker-1")

    supervisor.stop(hurry=lambda: hurry)

    assert not is_alive(process)
    assert events == ["worker-1 did not stop in time and is killed."]


def test_a_module_of_the_current_directory_is_not_taken_for_a_role(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    supervisor.environment.pop("PYTHONPATH")
    supervisor.start(Role("failing", "failing", is_ready=lambda: False))
    with pytest.raises(EngineError, match="No module named failing"):
        supervisor.await_ready()
