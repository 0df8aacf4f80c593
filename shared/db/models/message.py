"""What a customer asked to send, how far it is, and where its fan-out stands."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, SeqRef, UpdatedAt


class Message(Base):
    __tablename__ = "messages"
    __table_args__ = (
        Index("messages_id_key", "project_seq", "id", unique=True, postgresql_where=text("deleted_at IS NULL")),
        # what lists are ordered and filtered by
        Index("messages_project_idx", "project_seq", "seq", postgresql_where=text("deleted_at IS NULL")),
        Index("messages_created_idx", "project_seq", "created_at", "seq", postgresql_where=text("deleted_at IS NULL")),
        # nulls stand where lists have them: first when ascending
        Index(
            "messages_delivered_idx",
            "project_seq",
            text("delivered_at NULLS FIRST"),
            "seq",
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "messages_planned_idx",
            "project_seq",
            text("scheduled_at NULLS FIRST"),
            "seq",
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("messages_status_idx", "project_seq", "status", "seq", postgresql_where=text("deleted_at IS NULL")),
        Index("messages_channel_idx", "project_seq", "channel", "seq", postgresql_where=text("deleted_at IS NULL")),
        # what release looks for: only messages whose time is still to come
        Index(
            "messages_scheduled_idx",
            "scheduled_at",
            postgresql_where=text("status = 'scheduled' AND deleted_at IS NULL"),
        ),
    )

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    channel: Mapped[str]
    status: Mapped[str]
    lane: Mapped[str]
    data: Mapped[dict[str, object]]  # contract §8.1
    topics: Mapped[list[str]]  # public ids as given
    users: Mapped[list[str]]
    targets: Mapped[list[str]]
    scheduled_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))  # compare-and-set of PATCH against release
    run: Mapped[int | None] = mapped_column(BigInteger)  # drawn when it becomes `processing`; see shared/ids.py
    expires_at: Mapped[datetime | None]  # end of its time to live; set with run
    deleted_at: Mapped[datetime | None]  # tombstone: 404 at once, what is in flight is still recorded
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class MessageProgress(Base):
    """Sums of closed batches. The last row a transaction locks."""

    __tablename__ = "message_progress"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    run: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    project_seq: Mapped[ProjectRef]
    message_seq: Mapped[SeqRef] = mapped_column(index=True)
    planned: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    # open batches plus 1 while fan-out runs; 0 finishes the message
    batches_left: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    sent: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    skipped: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    cancelled: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    expired: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    unknown: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    resends: Mapped[int] = mapped_column(
        Integer, server_default=text("0")
    )  # sent again though the first may have arrived
    # by the last word of receipts; they may add up to less than `sent`, and cover what failed
    delivered: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    undelivered: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    complained: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    unsubscribed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    errors: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))  # the first 100, in order
    started_at: Mapped[CreatedAt]
    planned_at: Mapped[datetime | None]  # fan-out gave its token back
    finished_at: Mapped[datetime | None]


class FanOut(Base):
    """A message that is still being planned: due work and cursor in one row, deleted with the last page."""

    __tablename__ = "fan_outs"
    __table_args__ = (
        Index("fan_outs_lane_due_idx", "is_bulk", "due_at"),
        {"postgresql_with": {"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.02"}},
    )

    run: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    project_seq: Mapped[ProjectRef]
    message_seq: Mapped[SeqRef]
    is_bulk: Mapped[bool] = mapped_column(server_default=text("false"))  # the message's lane: each has its own turn
    due_at: Mapped[CreatedAt]
    cursor: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))  # last target_seq planned
    bound: Mapped[int | None] = mapped_column(BigInteger)  # largest target_seq at the start; None: not started
    topic_seqs: Mapped[list[int]] = mapped_column(server_default=text("'{}'"))
    listed_seqs: Mapped[list[int]] = mapped_column(server_default=text("'{}'"))  # listed users' and targets', ascending
    crashes: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # failed pages; the third fails the message
