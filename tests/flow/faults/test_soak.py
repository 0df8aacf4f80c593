"""Everything that runs, and whatever may happen to it, at random: nobody is lost, and every copy is on file."""

import contextlib
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable

import pytest
import redis

from tests.flow.faults.rig import Callers, Campaign, Rig

SEED = int(os.environ.get("TIDINGS_SOAK_SEED", "") or secrets.randbelow(1_000_000))
"""Of the faults and their order; times are the machine's own."""

LONG_SECONDS = float(os.environ.get("TIDINGS_SOAK_SECONDS", "600"))
SHORT_SECONDS = 20.0

ROLES = ("worker-1", "worker-1", "worker-2", "worker-2", "scheduler", "scheduler-2", "api")
TROUBLE = {"throttle_rate": 0.1, "dropped_rate": 0.05, "silent_rate": 0.02, "transient_once_rate": 0.1}

Report = Callable[[str, object], None]


@pytest.mark.timeout(300)
def test_faults_at_random_for_a_short_time(rig: Rig, record_property: Report) -> None:
    record_property("figure", _soak(rig, SHORT_SECONDS))


@pytest.mark.slow
@pytest.mark.timeout(LONG_SECONDS * 2 + 300)
def test_faults_at_random_for_a_long_time(rig: Rig, record_property: Report) -> None:
    record_property("figure", _soak(rig, LONG_SECONDS))


def _soak(rig: Rig, seconds: float) -> str:
    print(f"Once more the same: TIDINGS_SOAK_SEED={SEED}")  # noqa: T201  # shown when it fails
    chance = random.Random(SEED)
    campaigns: list[Campaign] = []
    done: Counter[str] = Counter()
    faults = [_kill, _kill, _kill_child, _tell_to_stop, _freeze, _freeze_postgres, _stop_postgres, _end_sessions]
    faults += [_stop_broker, _empty_broker, _trouble_providers]
    ends_at = time.monotonic() + seconds
    with Callers(rig, [rig.installation.endpoint]).calling(pause_seconds=0.1) as callers:
        while time.monotonic() < ends_at:
            campaigns.append(rig.send(chance.choice(("email", "sms", "push")), 150))
            time.sleep(chance.uniform(0.2, 2.0))
            fault = chance.choice(faults)
            fault(rig, chance)
            done[fault.__name__.strip("_")] += 1
            rig.start_again()  # whoever is gone, as a supervisor would
        rig.slow_down(milliseconds=20)
        rig.mend()
        verdict = rig.finish(*campaigns)
    ended = callers.finish()

    assert callers.statuses.keys() <= {201, 503}
    assert callers.without_advice == 0
    return (
        f"seed {SEED}, {sum(done.values())} faults ({', '.join(f'{count} {name}' for name, count in done.items())}):"
        f" {verdict.planned + ended.total():,} recipients, 0 lost, {verdict.copies} copies,"
        f" {verdict.resends} resends on file, {verdict.unknown} unknown"
    )


def _kill(rig: Rig, chance: random.Random) -> None:
    name = chance.choice(ROLES)
    with contextlib.suppress(ProcessLookupError):
        rig.kill(name)


def _kill_child(rig: Rig, chance: random.Random) -> None:
    rig.kill_child(chance.choice(("worker-1", "worker-2")))


def _tell_to_stop(rig: Rig, chance: random.Random) -> None:
    """One that has come up: before, nobody listens to what it is told."""
    name = chance.choice(ROLES)
    rig.mend(name)
    rig.terminate(name)


def _freeze(rig: Rig, chance: random.Random) -> None:
    with rig.frozen(chance.choice(ROLES)):
        time.sleep(chance.uniform(0.5, 5.0))


def _freeze_postgres(rig: Rig, chance: random.Random) -> None:
    with rig.frozen_postgres():
        time.sleep(chance.uniform(0.5, 4.0))


def _stop_postgres(rig: Rig, chance: random.Random) -> None:
    postgres = rig.installation.system.postgres
    assert postgres is not None
    postgres.stop(immediate=True)
    time.sleep(chance.uniform(0.0, 2.0))
    postgres.start()


def _end_sessions(rig: Rig, chance: random.Random) -> None:
    """About half of them."""
    rig.do(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'tidings-%%' AND pid %% 2 = %s",
        chance.randrange(2),
    )


def _stop_broker(rig: Rig, chance: random.Random) -> None:
    broker = rig.installation.system.redis
    assert broker is not None
    broker.stop()
    time.sleep(chance.uniform(0.0, 2.0))
    broker.start()


def _empty_broker(rig: Rig, chance: random.Random) -> None:
    broker = rig.installation.system.redis
    assert broker is not None
    with redis.Redis.from_url(broker.url) as client:
        client.flushall()


def _trouble_providers(rig: Rig, chance: random.Random) -> None:
    """Until the next time."""
    profile = {"latency_ms": chance.choice((5, 50, 300)), "receipt_copies": 0, "retry_after_seconds": 1}
    profiles: dict[str, dict[str, object]] = {
        kind: {**profile, **(TROUBLE if chance.random() < 0.5 else {})} for kind in ("fcm", "smtp", "twilio")
    }
    rig.installation.set_faults(**profiles)
