"""Stored files: buckets, files, and their content in pieces that every process can read."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, UpdatedAt


class Bucket(Base):
    __tablename__ = "buckets"
    __table_args__ = (UniqueConstraint("project_seq", "id"),)

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    name: Mapped[str]
    permissions: Mapped[list[str]]  # contract form, `write` written out
    file_security: Mapped[bool]  # True: permissions of single files count beside the bucket's
    enabled: Mapped[bool]
    maximum_file_size: Mapped[int] = mapped_column(BigInteger)
    allowed_file_extensions: Mapped[list[str]]
    # what the client asked for and reads back; files are kept as they came
    compression: Mapped[str]
    encryption: Mapped[bool]
    antivirus: Mapped[bool]
    transformations: Mapped[bool]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class StoredFile(Base):
    """Complete when as many chunks are uploaded as there are; its content never changes after that."""

    __tablename__ = "files"
    __table_args__ = (
        UniqueConstraint("bucket_seq", "id"),
        Index("files_incomplete_idx", "updated_at", postgresql_where=text("chunks_uploaded < chunks_total")),
    )

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    bucket_seq: Mapped[int] = mapped_column(BigInteger, ForeignKey("buckets.seq", ondelete="CASCADE"))
    id: Mapped[str]
    name: Mapped[str]
    permissions: Mapped[list[str]]
    size: Mapped[int] = mapped_column(BigInteger)
    chunks_total: Mapped[int] = mapped_column(Integer)
    chunks_uploaded: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    signature: Mapped[str] = mapped_column(server_default="")  # MD5 in hex, once it is complete
    mime_type: Mapped[str] = mapped_column(server_default="")  # by its content, once it is complete
    uploader: Mapped[str]  # who may send its further chunks: the user's id; "" is a key or a guest
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class FileChunk(Base):
    """Its content, or the key of the object that holds it. Either stays where it is: the setting is for new ones."""

    __tablename__ = "file_chunks"
    __table_args__ = (
        PrimaryKeyConstraint("file_seq", "number"),
        CheckConstraint("(content IS NULL) <> (object_key IS NULL)", name="place"),
    )

    file_seq: Mapped[int] = mapped_column(BigInteger, ForeignKey("files.seq", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer, autoincrement=False)  # from 0; all but the last are equally long
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    object_key: Mapped[str | None]


class LooseObject(Base):
    """An object that no chunk refers to: not yet, or no more. The scheduler removes it when it is due."""

    __tablename__ = "loose_objects"
    __table_args__ = (Index("loose_objects_due_idx", "due_at"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]
