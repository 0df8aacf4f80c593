"""Writing what a page of contacts creates.

Locks are taken in the order of everybody who changes subscribers (shared/db/queries/topics.py): users, targets by
seq, topics by seq, subscribers.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from shared.db.session import HotConnection
from shared.domain.contacts.plan import PagePlan, PlannedTarget, PlannedUser
from shared.domain.status import Channel
from shared.errors import TidingsError
from shared.ids import ProjectSeq

# xmax is 0 in a row that this statement inserted, and our transaction in one that it updated
_WRITE_USERS = """
WITH written AS (
    INSERT INTO users (project_seq, id, name, email, phone)
    SELECT %(project)s, id, name, email, phone
    FROM unnest(%(ids)s::text[], %(names)s::text[], %(emails)s::text[], %(phones)s::text[])
        AS planned (id, name, email, phone)
    ON CONFLICT (project_seq, id) DO UPDATE
    SET name = CASE excluded.name WHEN '' THEN users.name ELSE excluded.name END,
        email = CASE users.email WHEN '' THEN excluded.email ELSE users.email END,
        phone = CASE users.phone WHEN '' THEN excluded.phone ELSE users.phone END,
        updated_at = now()
    WHERE excluded.name NOT IN ('', users.name)
        OR users.email = '' AND excluded.email <> ''
        OR users.phone = '' AND excluded.phone <> ''
    RETURNING xmax = 0 AS is_created
)
SELECT count(*) FILTER (WHERE is_created), count(*) FILTER (WHERE NOT is_created) FROM written
"""

# What the page builds on is neither deleted nor given another identifier from here to the commit.
_HOLD_TARGETS = """
SELECT count(*)
FROM unnest(%(seqs)s::bigint[], %(identifiers)s::text[]) AS wanted (seq, identifier)
CROSS JOIN LATERAL (
    SELECT FROM targets WHERE seq = wanted.seq AND identifier = wanted.identifier LIMIT 1 FOR KEY SHARE
) AS held
"""

# A derived id is taken when its target was given another identifier since: then any other id will do.
# LATERAL with LIMIT 1: see lookups.py.
_CREATE_TARGETS = """
INSERT INTO targets (project_seq, id, user_seq, channel, identifier)
SELECT %(project)s,
    CASE WHEN taken.seq IS NULL THEN planned.id ELSE left(replace(gen_random_uuid()::text, '-', ''), 20) END,
    owner.seq, planned.channel, planned.identifier
FROM unnest(%(ids)s::text[], %(user_ids)s::text[], %(channels)s::text[], %(identifiers)s::text[])
    AS planned (id, user_id, channel, identifier)
CROSS JOIN LATERAL (
    SELECT seq FROM users WHERE project_seq = %(project)s AND id = planned.user_id LIMIT 1
) AS owner
LEFT JOIN LATERAL (
    SELECT seq FROM targets WHERE project_seq = %(project)s AND id = planned.id LIMIT 1
) AS taken ON true
RETURNING identifier, seq
"""

_CREATE_TOPICS = """
INSERT INTO topics (project_seq, id, name)
SELECT %(project)s, id, id FROM unnest(%(topics)s::text[]) AS planned (id)
ON CONFLICT (project_seq, id) WHERE deleted_at IS NULL DO NOTHING
"""

# their totals change below
_LOCK_TOPICS = """
SELECT id, seq FROM topics
WHERE project_seq = %(project)s AND deleted_at IS NULL AND id = ANY (%(topics)s)
ORDER BY seq FOR NO KEY UPDATE
"""

# Ids in the shape of shared.ids.new_public_id: microseconds, then a running number where that has random digits.
# Growing ids append to the index on them; random ones would touch a page of it each.
_SUBSCRIBE = """
WITH added AS (
    INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel)
    SELECT %(project)s,
        lpad(to_hex((extract(epoch FROM statement_timestamp()) * 1000000)::bigint), 13, '0')
            || lpad(to_hex(number), 7, '0'),
        topic_seq, target_seq, channel
    FROM unnest(%(topic_seqs)s::bigint[], %(target_seqs)s::bigint[], %(channels)s::text[]) WITH ORDINALITY
        AS planned (topic_seq, target_seq, channel, number)
    ON CONFLICT (topic_seq, channel, target_seq) DO NOTHING
    RETURNING topic_seq, channel
), sums AS (
    SELECT topic_seq,
        count(*) FILTER (WHERE channel = 'email') AS email,
        count(*) FILTER (WHERE channel = 'sms') AS sms,
        count(*) FILTER (WHERE channel = 'push') AS push
    FROM added GROUP BY topic_seq
), totals AS (
    UPDATE topics
    SET email_total = email_total + sums.email, sms_total = sms_total + sums.sms, push_total = push_total + sums.push
    FROM sums WHERE topics.seq = sums.topic_seq
)
SELECT count(*) FROM added
"""


class TargetsChanged(TidingsError):
    """Targets that a page builds on were deleted or changed while it was planned."""


async def write_plan(
    connection: HotConnection, project: ProjectSeq, plan: PagePlan, target_seqs: Mapping[str, int]
) -> dict[str, int]:
    """How many were created or updated, by the import's counters. `target_seqs`: existing targets by identifier.

    Raises TargetsChanged when those are no longer what they were: plan the page again.
    """
    users_created, users_updated = await _write_users(connection, project, list(plan.users.values()))
    await _hold_targets(connection, target_seqs)
    created_seqs = await _create_targets(connection, project, plan.targets)
    topics = list({topic for topic, _channel, _identifier in plan.subscriptions})
    topics_created = await connection.execute(_CREATE_TOPICS, {"project": project, "topics": topics})
    topic_seqs = await _lock_topics(connection, project, topics)
    all_target_seqs = {**target_seqs, **created_seqs}
    subscriptions = [
        (topic_seqs[topic], all_target_seqs[identifier], channel)
        for topic, channel, identifier in plan.subscriptions
        if topic in topic_seqs
    ]
    return {
        "users_created": users_created,
        "users_updated": users_updated,
        "targets_created": len(created_seqs),
        "topics_created": topics_created.rowcount,
        "subscriptions_created": await _subscribe(connection, project, subscriptions),
    }


async def _write_users(connection: HotConnection, project: ProjectSeq, users: Sequence[PlannedUser]) -> tuple[int, int]:
    """Users created, and updated."""
    cursor = await connection.execute(
        _WRITE_USERS,
        {
            "project": project,
            "ids": [user.id for user in users],
            "names": [user.name for user in users],
            "emails": [user.email for user in users],
            "phones": [user.phone for user in users],
        },
    )
    counts = await cursor.fetchone()
    assert counts is not None
    return counts[0], counts[1]


async def _hold_targets(connection: HotConnection, target_seqs: Mapping[str, int]) -> None:
    by_seq = sorted(target_seqs.items(), key=itemgetter(1))
    parameters = {
        "seqs": _array(seq for _identifier, seq in by_seq),
        "identifiers": [identifier for identifier, _seq in by_seq],
    }
    held = await (await connection.execute(_HOLD_TARGETS, parameters)).fetchone()
    assert held is not None
    if held[0] != len(by_seq):
        raise TargetsChanged


async def _create_targets(
    connection: HotConnection, project: ProjectSeq, targets: Sequence[PlannedTarget]
) -> dict[str, int]:
    """Seq by identifier."""
    cursor = await connection.execute(
        _CREATE_TARGETS,
        {
            "project": project,
            "ids": [target.id for target in targets],
            "user_ids": [target.user_id for target in targets],
            "channels": _array(target.channel for target in targets),
            "identifiers": [target.identifier for target in targets],
        },
    )
    return dict(await cursor.fetchall())


async def _lock_topics(connection: HotConnection, project: ProjectSeq, topics: Sequence[str]) -> dict[str, int]:
    """Seq by id. A topic that is deleted this moment is missing."""
    cursor = await connection.execute(_LOCK_TOPICS, {"project": project, "topics": topics})
    return dict(await cursor.fetchall())


async def _subscribe(
    connection: HotConnection, project: ProjectSeq, subscriptions: Sequence[tuple[int, int, Channel]]
) -> int:
    """Subscriptions created, of (topic seq, target seq, channel); the topics' totals grow by as many."""
    cursor = await connection.execute(
        _SUBSCRIBE,
        {
            "project": project,
            "topic_seqs": _array(topic_seq for topic_seq, _target, _channel in subscriptions),
            "target_seqs": _array(target_seq for _topic, target_seq, _channel in subscriptions),
            "channels": _array(channel for _topic, _target, channel in subscriptions),
        },
    )
    counted = await cursor.fetchone()
    assert counted is not None
    count: int = counted[0]
    return count


def _array(values: Iterable[int | Channel]) -> str:
    """An array literal of values that need no quotes: ten times quicker than psycopg's, which looks at each one."""
    return "{" + ",".join(map(str, values)) + "}"
