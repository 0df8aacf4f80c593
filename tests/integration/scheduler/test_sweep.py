"""The sweep makes rings certain: due work that nobody picked up is rung again, and only that."""

from collections.abc import AsyncIterator

import pytest
import redis
from prometheus_client import REGISTRY

from scheduler.context import TickContext
from scheduler.sweep import ring_stale_work
from shared.db.session import create_engine
from shared.queue.rings import Ringer
from shared.settings import Settings
from tests.factories import Factory

BULK = "push.fcm.bulk"


@pytest.fixture
async def context(settings: Settings) -> AsyncIterator[TickContext]:
    engine = create_engine(settings, role="test")
    yield TickContext(engine, settings, Ringer(settings))
    await engine.dispose()


def _add_batch(factory: Factory, *, due_in: str, queue: str = BULK, state: str = "due") -> None:
    with factory.connect() as connection:
        connection.execute(
            "INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, targets, state, due_at)"
            " VALUES (1, 1, 1, %s, 1, '{1}', %s, now() + %s::interval)",
            [queue, state, due_in],
        )


async def _sweep(context: TickContext) -> dict[str, int]:
    """Rings in the broker afterwards, by queue."""
    context.ringer.start()
    await ring_stale_work(context)
    context.ringer.stop()
    queues = (BULK, "push.fcm.transactional", "email.smtp.bulk", "fan_out")
    with redis.Redis.from_url(context.settings.require_broker_url()) as client:
        depths = {queue: int(str(client.llen(queue))) for queue in queues}
    return {queue: depth for queue, depth in depths.items() if depth}


def _number(name: str, queue: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"queue": queue})


async def test_due_work_that_nobody_picked_up_is_rung_again(context: TickContext) -> None:
    factory = Factory(context.settings)
    _add_batch(factory, due_in="-1 minute")
    _add_batch(factory, due_in="-1 minute", queue="email.smtp.bulk", state="claimed")
    _add_batch(factory, due_in="1 minute", queue="push.fcm.transactional")
    factory.message("m", channel="push")

    assert await _sweep(context) == {BULK: 4}  # the message has only just become due

    assert _number("tidings_due_batches", BULK) == 1
    assert 60 <= (_number("tidings_oldest_due_seconds", BULK) or 0) < 120
    assert _number("tidings_oldest_due_seconds", "email.smtp.bulk") == 0


async def test_a_message_that_waits_to_be_planned_is_rung_for(context: TickContext) -> None:
    factory = Factory(context.settings)
    factory.message("m", channel="push")
    with factory.connect() as connection:
        connection.execute("UPDATE fan_outs SET due_at = now() - interval '1 minute'")

    assert await _sweep(context) == {"fan_out": 4}


async def test_fresh_work_is_left_to_its_first_ring(context: TickContext) -> None:
    _add_batch(Factory(context.settings), due_in="-1 second")

    assert await _sweep(context) == {}


async def test_a_queue_that_was_emptied_shows_nothing_due(context: TickContext) -> None:
    factory = Factory(context.settings)
    _add_batch(factory, due_in="-1 minute")
    await _sweep(context)
    with factory.connect() as connection:
        connection.execute("DELETE FROM batches")

    fresh = TickContext(context.engine, context.settings, Ringer(context.settings))
    await _sweep(fresh)

    assert (_number("tidings_due_batches", BULK), _number("tidings_oldest_due_seconds", BULK)) == (0, 0)
