"""The audit log: written in the transaction of each change, read by resource, forgotten by age."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import AuditEntry
from shared.db.queries.lists import MAX_TOTAL, Page, Selection
from shared.db.session import HotConnection
from shared.ids import ProjectSeq

Resource = Literal["message", "provider", "topic", "subscriber"]
Event = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, as a request tells. At most one of key and user; neither: a guest."""

    actor_type: str
    key_seq: int | None
    user_seq: int | None
    service_email: str  # what the contract shows as a key's address
    ip: str
    user_agent: str

    def parameters(self) -> dict[str, Any]:
        return asdict(self)


def insert_entry_sql(changed: str, *, before: str, after: str) -> str:
    """The entry of each row of `changed (project_seq, resource, seq, id, event)`.

    A parameter NAME of Actor stands between `before` and `after`: the drivers' marks differ.
    """

    def mark(name: str, kind: str = "text") -> str:
        return f"CAST({before}{name}{after} AS {kind})"

    return f"""
    INSERT INTO audit_log (
        project_seq, resource, resource_seq, resource_id, event, user_type, user_id, user_email, user_name, ip,
        user_agent
    )
    SELECT changed.project_seq, changed.resource, changed.seq, changed.id, changed.event, {mark("actor_type")},
        coalesce(users.id, ''), coalesce(users.email, {mark("service_email")}),
        coalesce(users.name, api_keys.name, ''), {mark("ip")}, {mark("user_agent")}
    FROM {changed} AS changed
    LEFT JOIN users ON users.seq = {mark("user_seq", "bigint")}
    LEFT JOIN api_keys ON api_keys.seq = {mark("key_seq", "bigint")}
    """  # noqa: S608  # parts are constants of the callers


_RECORD = text(
    insert_entry_sql(
        "(SELECT CAST(:project_seq AS int) AS project_seq, CAST(:resource AS text) AS resource,"
        " CAST(:seq AS bigint) AS seq, CAST(:id AS text) AS id, CAST(:event AS text) AS event)",
        before=":",
        after="",
    )
)


async def record_change(
    session: AsyncSession,
    actor: Actor,
    project_seq: ProjectSeq,
    *,
    resource: Resource,
    seq: int,
    id: str,  # noqa: A002  # the resource's own word
    event: Event,
) -> None:
    parameters = {
        "project_seq": project_seq,
        "resource": resource,
        "seq": seq,
        "id": id,
        "event": f"{resource}.{event}",
        **actor.parameters(),
    }
    await session.execute(_RECORD, parameters)


async def list_entries(session: AsyncSession, *, resource: Resource, seq: int, window: Selection) -> Page:
    """Rows of (AuditEntry,), newest first. Of the window, limit, offset and total are looked at."""
    matching = select(AuditEntry).where(AuditEntry.resource_seq == seq, AuditEntry.resource == resource)
    page = matching.order_by(AuditEntry.seq.desc()).limit(window.limit).offset(window.offset)
    rows = (await session.execute(page)).all()
    if not window.with_total:
        return Page(rows, 0)
    counted = matching.with_only_columns(AuditEntry.seq).limit(MAX_TOTAL).subquery()
    return Page(rows, int(await session.scalar(select(func.count()).select_from(counted)) or 0))


async def purge_entries(connection: HotConnection, *, older_than_seconds: float, page: int) -> int:
    """Delete entries that are too old, at most a page; how many. Seq tells the oldest, so no date is indexed."""
    cursor = await connection.execute(
        "DELETE FROM audit_log WHERE seq IN ("
        "SELECT seq FROM (SELECT seq, created_at FROM audit_log ORDER BY seq LIMIT %s) AS oldest"
        " WHERE created_at < now() - %s * interval '1 second')",
        [page, older_than_seconds],
    )
    return cursor.rowcount
