"""Projects and their API keys."""

from datetime import datetime

from sqlalchemy import ForeignKey, Identity, Integer, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, UpdatedAt


class Project(Base):
    __tablename__ = "projects"

    seq: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    # True: provider credentials come back masked instead of in clear (the wire contract's way)
    mask_credentials: Mapped[bool] = mapped_column(server_default=text("false"))
    sign_up: Mapped[bool] = mapped_column(server_default=text("true"))  # whether guests may; keys always create users
    sessions_limit: Mapped[int] = mapped_column(Integer, server_default=text("10"))  # of each user; the oldest end
    calls_per_minute: Mapped[int | None]  # of its keys together; None: as the settings have it, 0: no limit
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class ApiKey(Base):
    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("project_seq", "id"),)

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    name: Mapped[str]
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)  # SHA-256; the secret itself is shown once
    scopes: Mapped[list[str]]
    calls_per_minute: Mapped[int | None]  # as a project's
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # exact to some minutes: written at most once per cache period
    created_at: Mapped[CreatedAt]
