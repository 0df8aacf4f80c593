"""Merging one page of staged contacts: users, targets, topics, subscribers and the cursor in one transaction.

Repeating a page is safe: what exists is kept, and a page that is committed is behind the cursor.
"""

from shared.aside import aside
from shared.db.queries.contacts.lookups import find_existing, find_topics
from shared.db.queries.contacts.stage import StoredImport, import_cursor, lock_import, store_faults
from shared.db.queries.contacts.write import write_plan
from shared.db.queries.keys import ProjectIdentity
from shared.db.session import HotConnection
from shared.domain.contacts.plan import plan_page
from shared.domain.contacts.progress import ImportState
from shared.domain.contacts.rows import Contact

IMPORT_LOCK = 1_415_139_401  # any number, the same for every process that imports

# a plan made while a table was empty would read it whole for each row
_PREPARE = "SELECT set_config('enable_seqscan', 'off', true)"

# Imports of one project take turns, page by page, so they never meet in each other's uncommitted rows.
_TAKE_TURN = "SELECT pg_advisory_xact_lock(%(lock)s, %(project)s)"

# A range of lines, not a join with the page's: a plan for that join, made while few rows were staged and kept by the
# connection, compared each row of the page with every row staged (20,000 rows in 32 s instead of 5).
_TAKE_PAGE = """
DELETE FROM contact_import_rows
WHERE import_seq = %(seq)s AND line > %(merged_to)s AND line <= (
    SELECT max(line) FROM (
        SELECT line, row_number() OVER so_far AS rows, sum(subscriptions) OVER so_far AS subscriptions
        FROM (
            SELECT line, (2 + cardinality(push_tokens)) * (1 + cardinality(topics)) AS subscriptions
            FROM contact_import_rows
            WHERE import_seq = %(seq)s AND line > %(merged_to)s ORDER BY line LIMIT %(limit)s
        ) AS ahead
        WINDOW so_far AS (ORDER BY line)
    ) AS page
    WHERE rows = 1 OR subscriptions <= %(most)s
)
RETURNING line, user_id, name, email, phone, push_tokens, topics
"""

PAGE_SUBSCRIPTIONS = 20_000
"""Addresses and subscriptions that a page may write, however few its rows: more would take seconds in one piece."""

_MOVE_CURSOR = """
UPDATE contact_imports
SET merged_to = %(line)s, bad_total = bad_total + %(bad)s,
    users_created = users_created + %(users_created)s, users_updated = users_updated + %(users_updated)s,
    topics_created = topics_created + %(topics_created)s, targets_created = targets_created + %(targets_created)s,
    subscriptions_created = subscriptions_created + %(subscriptions_created)s, updated_at = now()
WHERE seq = %(seq)s
RETURNING *
"""

_FINISH = """
UPDATE contact_imports
SET state = 'finished', merged_to = staged_to, passes = passes + 1, finished_at = now(), updated_at = now()
WHERE seq = %(seq)s
RETURNING *
"""


async def merge_page(
    connection: HotConnection,
    project: ProjectIdentity,
    *,
    import_seq: int,
    page_rows: int,
    creates_topics: bool,
) -> StoredImport:
    """Merge the next rows; `finished` when there are none left.

    A unique violation or deadlock means that somebody else wrote the same contacts meanwhile: merge the page again.
    """
    await connection.execute(_PREPARE)
    await connection.execute(_TAKE_TURN, {"lock": IMPORT_LOCK, "project": project.seq})
    progress = await lock_import(connection, import_seq)
    if progress.state is not ImportState.MERGING:
        return progress
    contacts = await _take_page(connection, progress, page_rows)
    if not contacts:
        return await _move(connection, _FINISH, {"seq": import_seq})
    existing = await find_existing(connection, project.seq, contacts)
    plan = await aside(
        plan_page,
        contacts,
        project_id=project.id,
        existing=existing,
        topics=None if creates_topics else await find_topics(connection, project.seq, contacts),
    )
    created = await write_plan(connection, project.seq, plan, existing.target_seqs)
    await store_faults(connection, progress, plan.faults)
    parameters = {"seq": import_seq, "line": contacts[-1].line, "bad": len(plan.faults), **created}
    return await _move(connection, _MOVE_CURSOR, parameters)


async def _move(connection: HotConnection, statement: str, parameters: dict[str, int]) -> StoredImport:
    progress = await (await import_cursor(connection).execute(statement, parameters)).fetchone()
    assert progress is not None
    return progress


async def _take_page(connection: HotConnection, progress: StoredImport, page_rows: int) -> list[Contact]:
    parameters = {"seq": progress.seq, "merged_to": progress.merged_to, "limit": page_rows, "most": PAGE_SUBSCRIPTIONS}
    rows = await (await connection.execute(_TAKE_PAGE, parameters)).fetchall()
    return [
        Contact(line, user_id, name, email, phone, tuple(push_tokens), tuple(topics))
        for line, user_id, name, email, phone, push_tokens, topics in sorted(rows)
    ]
