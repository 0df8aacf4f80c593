"""Provider accounts as the API keeps them; credentials are encrypted before they come here."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Provider
from shared.db.queries.lists import Page, Selection, select_page
from shared.ids import ProjectSeq


def credentials_context(project_seq: int, provider_id: str) -> str:
    """What a provider's credentials are bound to when they are encrypted: they decrypt in no other row."""
    return f"{project_seq}/providers/{provider_id}"


def receipts_context(project_seq: int, provider_id: str) -> str:
    """The same for the key that the provider signs its receipts with."""
    return f"{credentials_context(project_seq, provider_id)}/receipts"


async def create_provider(session: AsyncSession, project_seq: ProjectSeq, **values: Any) -> Provider | None:
    """None: the id is taken."""
    statement = insert(Provider).values(project_seq=project_seq, **values).on_conflict_do_nothing().returning(Provider)
    return await session.scalar(statement)


async def find_provider(
    session: AsyncSession, project_seq: ProjectSeq, provider_id: str, *, for_update: bool = False
) -> Provider | None:
    statement = select(Provider).where(Provider.project_seq == project_seq, Provider.id == provider_id)
    return await session.scalar(statement.with_for_update(key_share=True) if for_update else statement)


async def list_all_providers(session: AsyncSession, project_seq: ProjectSeq) -> Sequence[Provider]:
    """Oldest first, so of a channel's enabled ones the default comes first."""
    statement = select(Provider).where(Provider.project_seq == project_seq).order_by(Provider.seq)
    return (await session.scalars(statement)).all()


async def list_providers(session: AsyncSession, project_seq: ProjectSeq, selection: Selection) -> Page:
    """Rows of (Provider,)."""
    statement = select(Provider).where(Provider.project_seq == project_seq)
    return await select_page(session, statement, selection, seq=Provider.seq, public_id=Provider.id)


async def update_provider(session: AsyncSession, seq: int, **values: Any) -> Provider:
    """The changed row. Its version grows, so workers take the account up anew, and its fault counts as mended."""
    statement = (
        update(Provider)
        .where(Provider.seq == seq)
        .values(version=Provider.version + 1, fault_reason=None, fault_since=None, updated_at=func.now(), **values)
        .returning(Provider)
    )
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one()


async def delete_provider(session: AsyncSession, project_seq: ProjectSeq, provider_id: str) -> int | None:
    """Its seq; None: there is none of this id. Targets keep the name of it and fall back when something is sent."""
    statement = delete(Provider).where(Provider.project_seq == project_seq, Provider.id == provider_id)
    return await session.scalar(statement.returning(Provider.seq))
