"""Databases, collections and documents, as far as the client page of the contract uses them."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, UpdatedAt


class DocumentDatabase(Base):
    __tablename__ = "document_databases"
    __table_args__ = (UniqueConstraint("project_seq", "id"),)

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    name: Mapped[str]
    enabled: Mapped[bool]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Collection(Base):
    __tablename__ = "collections"
    __table_args__ = (UniqueConstraint("database_seq", "id"),)

    seq: Mapped[Seq]
    database_seq: Mapped[int] = mapped_column(BigInteger, ForeignKey("document_databases.seq", ondelete="CASCADE"))
    id: Mapped[str]
    name: Mapped[str]
    enabled: Mapped[bool]
    permissions: Mapped[list[str]]
    document_security: Mapped[bool]
    attributes: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # as declared: key, type, size, required …
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Document(Base):
    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("collection_seq", "id"),)

    seq: Mapped[Seq]
    collection_seq: Mapped[int] = mapped_column(BigInteger, ForeignKey("collections.seq", ondelete="CASCADE"))
    id: Mapped[str]
    permissions: Mapped[list[str]]
    data: Mapped[dict[str, object]]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
