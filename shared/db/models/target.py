"""Addresses: one per user and channel, unique by identifier within a project."""

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, UpdatedAt


class Target(Base):
    """A deleted target has no row: a batch that still lists its seq skips it when it is loaded."""

    __tablename__ = "targets"
    __table_args__ = (
        UniqueConstraint("project_seq", "id"),
        # two users cannot share an address, so deduplicating by seq deduplicates by address
        UniqueConstraint("project_seq", "identifier"),
        Index("targets_user_idx", "user_seq", "channel", "seq"),
        Index("targets_expired_idx", "seq", postgresql_where=text("expired")),
        Index("targets_session_idx", "session_seq", postgresql_where=text("session_seq IS NOT NULL")),
    )

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    user_seq: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.seq", ondelete="CASCADE"))
    channel: Mapped[str]  # never changes
    provider_id: Mapped[str | None]  # public id; may dangle: then the default provider serves
    identifier: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    # the session that registered this device; whoever ends the session takes the target out of its topics first
    session_seq: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("user_sessions.seq", ondelete="CASCADE"))
    expired: Mapped[bool] = mapped_column(server_default=text("false"))  # the provider said it is dead
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
