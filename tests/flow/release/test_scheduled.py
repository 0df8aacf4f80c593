"""A scheduled message is released once, in time, by whichever scheduler comes first, with or without a broker."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.flow.conftest import Installation


@pytest.fixture
def listener(installation: Installation) -> str:
    """A push target of this test's own; its id. The simulator answers at once."""
    installation.set_faults()
    prefix = f"listener{time.monotonic_ns()}"
    installation.factory.audience(1, channel="push", prefix=prefix)
    return f"{prefix}-1"


def _schedule(installation: Installation, message_id: str, target: str, *, seconds: float) -> datetime:
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    with installation.factory.connect() as connection:
        connection.execute(
            "INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, scheduled_at)"
            " VALUES (%s, %s, 'push', 'scheduled', 'transactional', %s, '{}', '{}', %s, %s)",
            [installation.factory.project_seq, message_id, json.dumps({"title": message_id}), [target], due],
        )
    return due


def _accepted(installation: Installation, title: str) -> list[float]:
    """When the provider accepted copies of it, in Unix seconds."""
    with installation.record.open() as lines:
        entries = [json.loads(line) for line in lines]
    return [float(entry["at"]) for entry in entries if entry["title"] == title]


def _await_acceptance(installation: Installation, title: str, *, seconds: float) -> float:
    deadline = time.monotonic() + seconds
    while not (times := _accepted(installation, title)):
        assert time.monotonic() < deadline, f"{title} did not arrive"
        time.sleep(0.02)
    return times[0]


def test_a_message_due_in_three_seconds_arrives_within_five(installation: Installation, listener: str) -> None:
    began = datetime.now(UTC)
    due = _schedule(installation, "in-time", listener, seconds=3)

    arrived = _await_acceptance(installation, "in-time", seconds=10)

    assert due.timestamp() <= arrived <= began.timestamp() + 5


def test_two_schedulers_release_once_also_without_a_broker(installation: Installation, listener: str) -> None:
    redis = installation.system.redis
    assert redis is not None
    assert {role.name for role in installation.system.roles} >= {"scheduler", "scheduler-2"}
    redis.stop()
    _schedule(installation, "broker-away", listener, seconds=0.5)

    _await_status(installation, "broker-away", "processing", seconds=5)
    redis.start()
    _await_status(installation, "broker-away", "sent", seconds=20)

    assert len(_accepted(installation, "broker-away")) == 1
    with installation.factory.connect() as connection:
        runs = connection.execute(
            "SELECT count(*), max(version) FROM message_progress"
            " JOIN messages ON messages.seq = message_progress.message_seq WHERE messages.id = 'broker-away'"
        ).fetchone()
    assert runs == (1, 2)


def _await_status(installation: Installation, message_id: str, status: str, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    with installation.factory.connect() as connection:
        while connection.execute("SELECT status FROM messages WHERE id = %s", [message_id]).fetchone() != (status,):
            assert time.monotonic() < deadline, f"{message_id} does not become {status}"
            time.sleep(0.05)
