"""Addresses that must not be used again: written by outcomes, receipts and operators, asked before every send."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from shared.db.session import HotConnection
from shared.ids import ProjectSeq


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a provider said of the address of a recipient of ours."""

    project_seq: int
    provider_seq: int
    cause: str  # a receipt's kind, or dead_address
    reason: str
    target_seq: int
    recipient: str = ""  # as the provider wrote it, where it did: it stands for a target that is gone


# Push has no suppressions: a dead token expires its target, and its like never comes again. The first cause stays.
# What names another address than its delivery had is about somebody else: Mailgun's signature, for one, covers none.
_SUPPRESS = """
INSERT INTO suppressions (project_seq, channel, identifier, cause, reason, provider_seq)
SELECT DISTINCT ON (project_seq, channel, identifier)
    project_seq, channel, identifier, cause, reason, provider_seq
FROM (
    SELECT verdict.project_seq, coalesce(targets.channel, providers.channel) AS channel,
        lower(CASE
            WHEN targets.seq IS NOT NULL THEN targets.identifier
            WHEN providers.channel = 'sms' THEN '+' || ltrim(verdict.recipient, '+')
            ELSE verdict.recipient
        END) AS identifier,
        verdict.cause, verdict.reason, verdict.provider_seq, verdict.recipient
    FROM unnest(
        %(project_seq)s::int[], %(provider_seq)s::bigint[], %(cause)s::text[], %(reason)s::text[],
        %(target_seq)s::bigint[], %(recipient)s::text[]
    ) AS verdict (project_seq, provider_seq, cause, reason, target_seq, recipient)
    LEFT JOIN targets ON targets.seq = verdict.target_seq AND targets.project_seq = verdict.project_seq
    LEFT JOIN providers ON providers.seq = verdict.provider_seq AND providers.project_seq = verdict.project_seq
) AS address
WHERE channel <> 'push' AND identifier NOT IN ('', '+')
    AND (recipient = '' OR strpos(lower(recipient), ltrim(identifier, '+')) > 0)
ORDER BY project_seq, channel, identifier
ON CONFLICT (project_seq, channel, identifier) DO NOTHING
"""


async def suppress(connection: HotConnection, verdicts: Sequence[Verdict]) -> int:
    """How many addresses are new on the list. Written in the order of their keys, as every writer does."""
    if not verdicts:
        return 0
    columns = ("project_seq", "provider_seq", "cause", "reason", "target_seq", "recipient")
    cursor = await connection.execute(
        _SUPPRESS, {name: [getattr(verdict, name) for verdict in verdicts] for name in columns}
    )
    return cursor.rowcount


async def suppressed_among(connection: HotConnection, target_seqs: Sequence[int]) -> dict[int, str]:
    """Which of these targets must not be used, and why. Key: target_seq."""
    if not target_seqs:
        return {}
    cursor = await connection.execute(
        "SELECT targets.seq, suppressions.cause FROM targets JOIN suppressions"
        " ON suppressions.project_seq = targets.project_seq AND suppressions.channel = targets.channel"
        " AND suppressions.identifier = lower(targets.identifier)"
        " WHERE targets.seq = ANY(%s)",
        [list(target_seqs)],
    )
    return dict(await cursor.fetchall())


@dataclass(frozen=True, slots=True)
class ListedSuppression:
    channel: str
    identifier: str
    cause: str
    reason: str
    created_at: datetime


async def list_suppressions(
    connection: HotConnection, project_seq: ProjectSeq, *, after: tuple[str, str], limit: int
) -> list[ListedSuppression]:
    """A page in the order of (channel, identifier), beginning behind `after`."""
    async with connection.cursor(row_factory=class_row(ListedSuppression)) as cursor:
        await cursor.execute(
            "SELECT channel, identifier, cause, reason, created_at FROM suppressions"
            " WHERE project_seq = %s AND (channel, identifier) > (%s, %s) ORDER BY channel, identifier LIMIT %s",
            [project_seq, *after, limit],
        )
        return await cursor.fetchall()


async def find_suppression(
    connection: HotConnection, project_seq: ProjectSeq, *, channel: str, identifier: str
) -> ListedSuppression | None:
    async with connection.cursor(row_factory=class_row(ListedSuppression)) as cursor:
        await cursor.execute(
            "SELECT channel, identifier, cause, reason, created_at FROM suppressions"
            " WHERE project_seq = %s AND channel = %s AND identifier = lower(%s)",
            [project_seq, channel, identifier],
        )
        return await cursor.fetchone()


async def add_suppression(
    connection: HotConnection, project_seq: ProjectSeq, *, channel: str, identifier: str, reason: str
) -> bool:
    """By hand. False: it is on the list already."""
    cursor = await connection.execute(
        "INSERT INTO suppressions (project_seq, channel, identifier, cause, reason)"
        " VALUES (%s, %s, lower(%s), 'manual', %s) ON CONFLICT DO NOTHING",
        [project_seq, channel, identifier, reason],
    )
    return bool(cursor.rowcount)


async def remove_suppression(
    connection: HotConnection, project_seq: ProjectSeq, *, channel: str, identifier: str
) -> bool:
    """False: it is not on the list."""
    cursor = await connection.execute(
        "DELETE FROM suppressions WHERE project_seq = %s AND channel = %s AND identifier = lower(%s)",
        [project_seq, channel, identifier],
    )
    return bool(cursor.rowcount)
