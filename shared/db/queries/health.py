"""Questions about the database itself and the work that waits in it."""

from shared.db.session import HotConnection
from shared.ids import ProjectSeq


async def answers(connection: HotConnection) -> None:
    """Raises psycopg.OperationalError when it does not."""
    await connection.execute("SELECT 1")


async def count_waiting_work(connection: HotConnection, project_seq: ProjectSeq) -> int:
    """Messages of a project to be planned and batches to be delivered that are due now."""
    cursor = await connection.execute(
        "SELECT (SELECT count(*) FROM fan_outs WHERE project_seq = %(project)s AND due_at <= now())"
        " + (SELECT count(*) FROM batches WHERE project_seq = %(project)s AND state = 'due' AND due_at <= now())",
        {"project": project_seq},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def count_interrupted_work(connection: HotConnection, project_seq: ProjectSeq) -> int:
    """Open work of a project that a worker died on at least once: the nearest there is to failed jobs, for none is ever
    put away.
    """
    cursor = await connection.execute(
        "SELECT (SELECT count(*) FROM fan_outs WHERE project_seq = %(project)s AND crashes > 0)"
        " + (SELECT count(*) FROM batches WHERE project_seq = %(project)s AND crashes > 0)",
        {"project": project_seq},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
