"""Contact files on their way in: the import, its staged rows and its faulty ones."""

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, SeqRef, UpdatedAt


class ContactImport(Base):
    """One file, known by its content: read again, it goes on here or, when it was finished, starts a new pass."""

    __tablename__ = "contact_imports"
    __table_args__ = (UniqueConstraint("project_seq", "id"),)

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]  # derived from the content of the file and how it is read
    file_name: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="staging")
    staged_to: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # last line staged
    merged_to: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # last line merged: the cursor
    rows_total: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    bad_total: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    faults_kept: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # of bad_total, those with a reason
    fault_bytes: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # of the reasons kept
    users_created: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    users_updated: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    topics_created: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    targets_created: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    subscriptions_created: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    passes: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # complete passes over the file
    finished_at: Mapped[datetime | None]  # end of this pass
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class ContactImportRow(Base):
    """A valid row that waits to be merged; deleted by the page that merges it."""

    __tablename__ = "contact_import_rows"
    __table_args__ = (PrimaryKeyConstraint("import_seq", "line"),)

    import_seq: Mapped[SeqRef]
    line: Mapped[int] = mapped_column(Integer, autoincrement=False)
    user_id: Mapped[str]
    name: Mapped[str]
    email: Mapped[str]
    phone: Mapped[str]
    push_tokens: Mapped[list[str]]
    topics: Mapped[list[str]]


class ContactImportFault(Base):
    """A row that was not merged, and why."""

    __tablename__ = "contact_import_faults"
    __table_args__ = (PrimaryKeyConstraint("import_seq", "line"),)

    import_seq: Mapped[SeqRef]
    line: Mapped[int] = mapped_column(Integer, autoincrement=False)
    reason: Mapped[str]
