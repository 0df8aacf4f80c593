"""Logged-in users, and the windows that count how often somebody calls."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, UpdatedAt


class UserSession(Base):
    __tablename__ = "user_sessions"
    __table_args__ = (
        UniqueConstraint("project_seq", "id"),
        Index("user_sessions_user_idx", "user_seq"),
        Index("user_sessions_expires_idx", "expires_at"),
    )

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    user_seq: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.seq", ondelete="CASCADE"))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)  # SHA-256; the secret itself is shown once
    provider: Mapped[str]  # the wire's word for how it began: email, server
    provider_uid: Mapped[str] = mapped_column(server_default="")
    ip: Mapped[str] = mapped_column(server_default="")
    user_agent: Mapped[str] = mapped_column(server_default="")
    expires_at: Mapped[datetime]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class RateWindow(Base):
    """Calls of one caller to one route in one fixed window of time."""

    __tablename__ = "rate_windows"
    __table_args__ = (Index("rate_windows_ends_idx", "ends_at"),)

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)  # a hash: it is made of addresses
    ends_at: Mapped[datetime] = mapped_column(primary_key=True)
    calls: Mapped[int] = mapped_column(Integer)
