"""Receipts as they came in, and the addresses that must not be used again because of them."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq


class StoredReceipt(Base):
    """The inbox: appended by the API, folded into the ledger in pages by the scheduler, kept for a while after."""

    __tablename__ = "receipts"
    __table_args__ = (
        UniqueConstraint("provider_seq", "event_id"),
        Index("receipts_turns_idx", "project_seq", "due_at", "seq", postgresql_where=text("folded_at IS NULL")),
        Index("receipts_folded_idx", "folded_at", postgresql_where=text("folded_at IS NOT NULL")),
        Index("receipts_recipient_idx", "run", "target_seq"),
    )

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef]
    provider_seq: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[str]
    kind: Mapped[str]  # shared/domain/receipt.py
    recipient: Mapped[str]  # as the provider wrote it
    run: Mapped[int | None] = mapped_column(BigInteger)
    target_seq: Mapped[int | None] = mapped_column(BigInteger)  # None: the provider names only the address
    provider_message_id: Mapped[str] = mapped_column(server_default="")
    reason: Mapped[str] = mapped_column(server_default="")
    occurred_at: Mapped[datetime | None]  # by the provider's clock
    received_at: Mapped[CreatedAt]
    due_at: Mapped[CreatedAt]  # later where the ledger had no row yet
    folded_at: Mapped[datetime | None]


class Suppression(Base):
    """An address that we must not use again, and why. Addresses are kept in lower case."""

    __tablename__ = "suppressions"
    __table_args__ = (PrimaryKeyConstraint("project_seq", "channel", "identifier"),)

    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    channel: Mapped[str]
    identifier: Mapped[str]
    cause: Mapped[str]  # bounced, complained, unsubscribed, dead_address, manual
    reason: Mapped[str] = mapped_column(server_default="")  # the provider's words, or the operator's note
    provider_seq: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[CreatedAt]
