"""The two hot questions to Postgres, by the pipeline's own functions: claim a batch, read a page of recipients."""

import asyncio
import time

import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.claim import Turn, claim_batches
from shared.db.queries.fan_out import read_recipient_page, start_fan_outs
from shared.db.session import create_engine, hot_transaction
from shared.domain.queues import DeliveryQueue
from shared.domain.status import Channel, Lane
from tests.benchmarks.addresses import REGISTRATION_TOKEN
from tests.benchmarks.figures import Figure, Section, WrongResult, quantile
from tests.benchmarks.installation import Installation
from tests.benchmarks.options import Options

READY_TOTAL, PAUSED_TOTAL, MESSAGES_TOTAL = 10_000, 40_000, 20
SMALL_TOPIC = 1_000
LEASE_SECONDS = 60.0
PAGE_SIZE = 10_000
QUEUE = DeliveryQueue("fcm", Lane.BULK).name

_BATCHES = """
INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, state, targets)
SELECT number %% %(messages)s, %(project)s, 1000000 + number %% %(messages)s, %(queue)s, 1, %(state)s,
    ARRAY(SELECT generate_series(1, 200))
FROM generate_series(1, %(total)s) AS number
"""

_FAN_OUT = """
WITH message AS (
    INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, run, expires_at)
    VALUES (%(project)s, 'page', 'push', 'processing', 'bulk', '{}', ARRAY[%(topic)s], '{}', '{}', tidings_draw_run(),
        now() + interval '1 day')
    RETURNING run, project_seq, seq
)
INSERT INTO fan_outs (run, project_seq, message_seq) SELECT run, project_seq, seq FROM message RETURNING run
"""


def measure(options: Options, installation: Installation) -> Section:
    sizes = options.sizes
    installation.audience.load(REGISTRATION_TOKEN, sizes.large_audience)
    topic = installation.audience.topic_of(REGISTRATION_TOKEN, SMALL_TOPIC)
    claims, pages = asyncio.run(_ask(installation, topic, sizes.claims))
    named = {
        f"claim, {READY_TOTAL:,} ready beside {PAUSED_TOTAL:,} paused": claims,
        f"page of a topic of {SMALL_TOPIC:,} among {sizes.large_audience:,} targets": pages,
    }
    return Section(
        "Questions to Postgres",
        [
            Figure(f"{name}, {label}", "Tidings", "ms", (quantile(values, share),), more_is_better=False)
            for name, values in named.items()
            for label, share in (("median", 0.5), ("p95", 0.95))
        ],
        notes=[f"{sizes.claims:,} of each on one connection, commit included, by the client's clock."],
    )


async def _ask(installation: Installation, topic: str, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each claim and of each page."""
    run = _prepare(installation, topic)
    engine = create_engine(installation.settings, role="bench", pool_size=1)
    try:
        claims = [await _claim(engine) for _ in range(times)]
        async with hot_transaction(engine) as connection:
            await start_fan_outs(connection, [run])
        pages = [await _read_page(engine, run) for _ in range(times)]
    finally:
        await engine.dispose()
    return claims, pages


def _prepare(installation: Installation, topic: str) -> int:
    """Write the batches and a message to the topic that is to be planned; its run."""
    project = installation.audience.project_seq
    with psycopg.connect(installation.audience.database_url, autocommit=True) as connection:
        for state, total in (("due", READY_TOTAL), ("paused", PAUSED_TOTAL)):
            connection.execute(
                _BATCHES,
                {"messages": MESSAGES_TOTAL, "project": project, "queue": QUEUE, "state": state, "total": total},
            )
        connection.execute("VACUUM ANALYZE batches")
        row = connection.execute(_FAN_OUT, {"project": project, "topic": topic}).fetchone()
    assert row
    return int(row[0])


async def _claim(engine: AsyncEngine) -> float:
    started = time.perf_counter()
    async with hot_transaction(engine) as connection:
        claim = await claim_batches(
            connection, queue=QUEUE, after=Turn(), turns=1, room=1, lease_seconds=LEASE_SECONDS, worker="bench"
        )
    milliseconds = (time.perf_counter() - started) * 1000
    if len(claim.batches) != 1:
        raise WrongResult(f"a claim took {len(claim.batches)} batches instead of 1")
    return milliseconds


async def _read_page(engine: AsyncEngine, run: int) -> float:
    started = time.perf_counter()
    async with hot_transaction(engine) as connection:
        page = await read_recipient_page(connection, [run], channel=Channel.PUSH, limit=PAGE_SIZE)
    milliseconds = (time.perf_counter() - started) * 1000
    if len(page) != SMALL_TOPIC:
        raise WrongResult(f"a page of {len(page)} recipients instead of {SMALL_TOPIC}")
    return milliseconds
