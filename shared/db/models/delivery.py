"""The ledger: one row per recipient with its final state, and the attempts that did not end in acceptance."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, PrimaryKeyConstraint, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef


class Delivery(Base):
    """Written once, by COPY, with the outcome; receipts come later. Partitioned by run, so age needs no column and
    retention no DELETE.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        PrimaryKeyConstraint("run", "target_seq"),
        # "everyone who did not get it" is one index range
        Index("deliveries_not_sent_idx", "run", "target_seq", postgresql_where=text("state <> 'sent'")),
        {"postgresql_partition_by": "RANGE (run)"},
    )

    run: Mapped[int] = mapped_column(BigInteger, autoincrement=False)
    target_seq: Mapped[int] = mapped_column(BigInteger, autoincrement=False)
    project_seq: Mapped[ProjectRef]
    state: Mapped[str]
    provider_seq: Mapped[int | None] = mapped_column(BigInteger)
    provider_message_id: Mapped[str] = mapped_column(server_default="")
    attempts: Mapped[int] = mapped_column(SmallInteger)  # provider calls made about it; 0 when it was skipped
    resends: Mapped[int] = mapped_column(SmallInteger)  # of them after an unknown outcome: possible copies
    reason: Mapped[str] = mapped_column(server_default="")  # the provider's words, without the address
    recorded_at: Mapped[CreatedAt]
    receipt: Mapped[str | None]  # what the provider said afterwards; moves forward only
    receipt_at: Mapped[datetime | None]


class Attempt(Base):
    """A provider call that did not end in acceptance, and what was decided."""

    __tablename__ = "attempts"
    __table_args__ = (
        PrimaryKeyConstraint("run", "batch_seq", "target_seq"),
        {"postgresql_partition_by": "RANGE (run)"},
    )

    run: Mapped[int] = mapped_column(BigInteger, autoincrement=False)
    batch_seq: Mapped[int] = mapped_column(BigInteger, autoincrement=False)
    target_seq: Mapped[int] = mapped_column(BigInteger, autoincrement=False)
    provider_seq: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[int] = mapped_column(SmallInteger)  # from 1
    outcome: Mapped[str]  # retry, refused, dead_address, account_fault, unknown, crashed
    decision: Mapped[str]  # retry, resend, final, wait
    reason: Mapped[str]
    due_at: Mapped[datetime | None]  # when the next try is due; None: no further try
    recorded_at: Mapped[CreatedAt]
