"""Recipients of one message that one worker takes together: the plan until the ledger has their outcomes."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, SeqRef


class Batch(Base):
    """Open batches only; closing deletes the row, so the table and its index stay as small as the open work."""

    __tablename__ = "batches"
    __table_args__ = (
        # the claim: turns over (project, account, message) within a queue, oldest first; holds nothing that cannot be
        # claimed. Recording finds by it what retries may join
        Index(
            "batches_turns_idx",
            "queue",
            "project_seq",
            "provider_seq",
            "message_seq",
            "due_at",
            "seq",
            postgresql_where=text("state = 'due'"),
        ),
        # is there due work in a queue, and how old is it
        Index("batches_due_idx", "queue", "due_at", postgresql_where=text("state = 'due'")),
        Index("batches_lease_idx", "lease_until", postgresql_where=text("state = 'claimed'")),
        Index("batches_run_idx", "run"),
        {
            "postgresql_with": {
                "fillfactor": "70",
                "autovacuum_vacuum_scale_factor": "0.02",
                "autovacuum_vacuum_threshold": "500",
            }
        },
    )

    seq: Mapped[Seq]
    run: Mapped[SeqRef]
    project_seq: Mapped[ProjectRef]
    message_seq: Mapped[SeqRef]
    queue: Mapped[str]  # channel.kind.lane
    provider_seq: Mapped[SeqRef]
    state: Mapped[str] = mapped_column(server_default="due")
    due_at: Mapped[CreatedAt]
    targets: Mapped[list[int]]  # target_seqs in the order they are marked
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))  # of every recipient in it, from 1
    # how often every recipient in it may have been sent before: possible copies
    resends: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    # marks: targets[:attempted_to] may have been sent; recorded_total of them have an outcome
    attempted_to: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    recorded_total: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    crashes: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))  # leases that ran out
    # leases that ran out before anything was marked
    false_starts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    token: Mapped[int | None] = mapped_column(BigInteger)  # fence: every write of a claim names it
    lease_until: Mapped[datetime | None]
    claimed_by: Mapped[str | None]  # host and process id, for people who look
    waiting_since: Mapped[datetime | None]  # the first account fault: patience is counted from here
    # sums of its recorded outcomes, added to the message's progress once, when it is closed
    sent: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    skipped: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    cancelled: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    expired: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    unknown: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    errors: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))  # at most 100
