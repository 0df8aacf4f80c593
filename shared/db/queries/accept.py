"""Accepting: a message and its due work in one statement, so that either both are there or neither."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Message
from shared.db.queries.audit import Actor, insert_entry_sql
from shared.db.session import HotConnection
from shared.domain.status import Channel, Lane, MessageStatus
from shared.ids import ProjectSeq

START_RUN_SQL = """
progress AS (
    INSERT INTO message_progress (run, project_seq, message_seq)
    SELECT run, project_seq, seq FROM started WHERE run IS NOT NULL
), due AS (
    INSERT INTO fan_outs (run, project_seq, message_seq, is_bulk)
    SELECT run, project_seq, seq, lane = 'bulk' FROM started WHERE run IS NOT NULL
)
"""
"""The rows that begin a run: CTEs over `started (run, project_seq, seq, lane)`, the message rows just written.

Whoever makes a message `processing` sets messages.run = tidings_draw_run() and expires_at in the same statement.
"""

_ARE_ADDRESSES_KNOWN = """NOT EXISTS (
    SELECT FROM unnest({addresses}) AS named (address)
    WHERE NOT EXISTS (
        SELECT FROM targets
        WHERE project_seq = {project_seq} AND channel = 'email' AND identifier IN (named.address, lower(named.address))
    )
)"""
"""Users' own targets are stored in lower case, others as they came."""

_LOG_CREATION = insert_entry_sql(
    "(SELECT project_seq, 'message' AS resource, seq, %(id)s::text AS id, 'message.create' AS event FROM started)",
    before="%(",
    after=")s",
)

_ARE_TARGETS_KNOWN = f"""
SELECT count(*) = cardinality(%(named)s::text[]) AND (
    cardinality(%(addresses)s::text[]) = 0
    OR {_ARE_ADDRESSES_KNOWN.format(addresses="%(addresses)s::text[]", project_seq="%(project_seq)s")}
) AS are_all
FROM targets
WHERE project_seq = %(project_seq)s AND channel = %(channel)s AND id = ANY(%(named)s::text[])
"""  # noqa: S608  # constants of this file

# Counting the named targets in the statement costs an empty index scan when there are none, and saves a round trip
# when there are. Few rows are ever affected, and 409 needs no exception: DO NOTHING leaves `started` empty.
_ACCEPT = f"""
WITH known AS ({_ARE_TARGETS_KNOWN}), started AS (
    INSERT INTO messages (
        project_seq, id, channel, status, lane, data, topics, users, targets, scheduled_at, run, expires_at
    )
    SELECT %(project_seq)s, %(id)s, %(channel)s, %(status)s, %(lane)s, %(data)s::jsonb, %(topics)s::text[],
        %(users)s::text[], %(targets)s::text[], %(scheduled_at)s::timestamptz,
        CASE WHEN %(is_due)s THEN tidings_draw_run() END,
        CASE WHEN %(is_due)s THEN now() + %(time_to_live)s * interval '1 second' END
    FROM known WHERE known.are_all
    ON CONFLICT (project_seq, id) WHERE deleted_at IS NULL DO NOTHING
    RETURNING run, project_seq, seq, lane, created_at
), {START_RUN_SQL}, logged AS (
    {_LOG_CREATION}
)
SELECT known.are_all AS are_targets_known, started.created_at FROM known LEFT JOIN started ON true
"""  # noqa: S608  # a constant of this file


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message that passed the API's checks. Ids are public ones, as given and in that order."""

    id: str
    channel: Channel
    status: MessageStatus
    lane: Lane
    data: Mapping[str, Any]
    topics: Sequence[str]
    users: Sequence[str]
    targets: Sequence[str]
    named_targets: Sequence[str]  # must exist and be of the channel; no duplicates
    named_addresses: Sequence[str]  # each must be the identifier of a target
    scheduled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """`created_at` is None: nothing was written, because of the targets or else because the id is taken."""

    are_targets_known: bool
    created_at: datetime | None


def _array_of(ids: Sequence[str]) -> str:
    """An array's literal: psycopg's own way looks at each of what may be 90,000 ids, which have nothing to escape."""
    return '{"' + '","'.join(ids) + '"}' if ids else "{}"


async def insert_message(
    connection: HotConnection, project_seq: ProjectSeq, new: NewMessage, actor: Actor, *, time_to_live_seconds: float
) -> Accepted:
    """Two of the same id at once: one waits for the other and is told that the id is taken."""
    parameters = {
        "project_seq": project_seq,
        "id": new.id,
        "channel": new.channel.value,
        "status": new.status.value,
        "lane": new.lane.value,
        "data": json.dumps(new.data),
        "topics": _array_of(new.topics),
        "users": _array_of(new.users),
        "targets": _array_of(new.targets),
        "named": _array_of(new.named_targets),
        "addresses": new.named_addresses,
        "scheduled_at": new.scheduled_at,
        "is_due": new.status is MessageStatus.PROCESSING,
        "time_to_live": time_to_live_seconds,
        **actor.parameters(),
    }
    async with connection.cursor(row_factory=class_row(Accepted)) as cursor:
        await cursor.execute(_ACCEPT, parameters)
        accepted = await cursor.fetchone()
    assert accepted is not None
    return accepted


async def are_targets_known(
    connection: HotConnection,
    project_seq: ProjectSeq,
    channel: Channel,
    *,
    named_targets: Sequence[str],
    named_addresses: Sequence[str],
) -> bool:
    """What insert_message() checks of them, for a message that cannot be inserted for another reason."""
    parameters = {
        "project_seq": project_seq,
        "channel": channel.value,
        "named": list(named_targets),
        "addresses": list(named_addresses),
    }
    cursor = await connection.execute(_ARE_TARGETS_KNOWN, parameters)
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


# Content is immutable from `processing` on, and a due message belongs to release: both are asked of the row as it is
# now, together with the version that was judged. No row: somebody else was faster, judge again.
_CHANGE = f"""
WITH started AS (
    UPDATE messages
    SET status = :status, lane = :lane, data = CAST(:data AS jsonb), topics = :topics, users = :users,
        targets = :targets, scheduled_at = :scheduled_at, version = version + 1, updated_at = now(),
        run = CASE WHEN :is_due THEN tidings_draw_run() END,
        expires_at = CASE WHEN :is_due THEN now() + :time_to_live * interval '1 second' END
    WHERE seq = :seq AND version = :version AND status IN ('draft', 'scheduled') AND deleted_at IS NULL
        AND (messages.scheduled_at IS NULL OR messages.scheduled_at > now())
    RETURNING run, project_seq, seq, lane
), {START_RUN_SQL}
SELECT count(*) FROM started
"""  # noqa: S608  # a constant of this file


@dataclass(frozen=True, slots=True)
class MessageChange:
    """What a message becomes."""

    status: MessageStatus
    lane: Lane
    data: Mapping[str, Any]
    topics: Sequence[str]
    users: Sequence[str]
    targets: Sequence[str]
    scheduled_at: datetime | None


async def change_message(
    session: AsyncSession, judged: Message, change: MessageChange, *, time_to_live_seconds: float
) -> bool:
    """Compare-and-set on the version that was judged. False: the message is another by now."""
    parameters = {
        "seq": judged.seq,
        "version": judged.version,
        "status": change.status.value,
        "lane": change.lane.value,
        "data": json.dumps(change.data),
        "topics": list(change.topics),
        "users": list(change.users),
        "targets": list(change.targets),
        "scheduled_at": change.scheduled_at,
        "is_due": change.status is MessageStatus.PROCESSING,
        "time_to_live": time_to_live_seconds,
    }
    return bool(await session.scalar(text(_CHANGE), parameters))


async def are_addresses_known(session: AsyncSession, project_seq: ProjectSeq, addresses: Sequence[str]) -> bool:
    """Whether each is the identifier of an e-mail target of the project."""
    if not addresses:
        return True
    condition = _ARE_ADDRESSES_KNOWN.format(addresses="CAST(:addresses AS text[])", project_seq=":project_seq")
    parameters = {"addresses": list(addresses), "project_seq": project_seq}
    return bool(await session.scalar(text(f"SELECT {condition}"), parameters))  # a constant
