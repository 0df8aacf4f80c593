"""Databases, collections and documents."""

from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Collection, Document, DocumentDatabase
from shared.ids import ProjectSeq

Stored = TypeVar("Stored", DocumentDatabase, Collection, Document)


async def create(session: AsyncSession, model: type[Stored], **values: Any) -> Stored | None:
    """None: the id is taken."""
    return await session.scalar(insert(model).values(**values).on_conflict_do_nothing().returning(model))


async def find_database(session: AsyncSession, project_seq: ProjectSeq, database_id: str) -> DocumentDatabase | None:
    return await session.scalar(
        select(DocumentDatabase).where(DocumentDatabase.project_seq == project_seq, DocumentDatabase.id == database_id)
    )


async def find_collection(session: AsyncSession, database_seq: int, collection_id: str) -> Collection | None:
    return await session.scalar(
        select(Collection).where(Collection.database_seq == database_seq, Collection.id == collection_id)
    )
