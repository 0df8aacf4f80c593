"""What a worker's /metrics says while its children come and go."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from prometheus_client import CollectorRegistry

from shared.process_metrics import ProcessMetrics

COUNTING_CHILD = """
import sys
from shared import metrics

metrics.ATTEMPTS.labels("smtp", "accepted").inc(2)
metrics.CLAIM_SECONDS.labels("some").observe(0.003)
metrics.IN_FLIGHT.labels("smtp").set(5)
print("counted", flush=True)
sys.stdin.read()
"""

Child: TypeAlias = "subprocess.Popen[bytes]"


@pytest.fixture
def start_child(tmp_path: Path) -> Iterator[Callable[[], Child]]:
    """Each has counted two attempts and a claim when it is handed out, and has five recipients in flight."""
    with ExitStack() as stack:

        def start() -> Child:
            environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
            child = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", COUNTING_CHILD],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            stack.callback(child.kill)
            assert child.stdout is not None
            assert child.stdout.readline() == b"counted\n"
            return child

        yield start


@pytest.fixture
def registry(tmp_path: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(ProcessMetrics(tmp_path))
    return registry


def attempts(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("tidings_attempts_total", {"kind": "smtp", "outcome": "accepted"})


def claims(registry: CollectorRegistry, up_to: str) -> float | None:
    return registry.get_sample_value("tidings_claim_seconds_bucket", {"found": "some", "le": up_to})


def in_flight(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("tidings_recipients_in_flight", {"kind": "smtp"})


def test_nothing_is_in_flight_of_a_child_that_was_killed_and_what_it_did_still_counts(
    start_child: Callable[[], Child], registry: CollectorRegistry
) -> None:
    killed, _survivor = start_child(), start_child()
    assert (attempts(registry), in_flight(registry)) == (4, 10)

    killed.kill()
    killed.wait()

    assert (attempts(registry), in_flight(registry)) == (4, 5)
    assert (claims(registry, "0.002"), claims(registry, "0.005"), claims(registry, "+Inf")) == (0, 2, 2)


def test_children_that_came_and_went_leave_no_files_but_the_sums(
    start_child: Callable[[], Child], registry: CollectorRegistry, tmp_path: Path
) -> None:
    for number in range(1, 4):
        child = start_child()
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
        assert attempts(registry) == 2 * number
        assert claims(registry, "+Inf") == number

    assert in_flight(registry) is None
    assert {file.name for file in tmp_path.iterdir()} == {"counter_gone.db", "histogram_gone.db"}
