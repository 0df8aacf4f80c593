"""People: owners of targets."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, UpdatedAt


class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("project_seq", "id"),
        Index("users_project_idx", "project_seq", "seq"),
        Index("users_created_idx", "project_seq", "created_at", "seq"),
        Index("users_email_key", "project_seq", "email", unique=True, postgresql_where=text("email <> ''")),
        Index("users_phone_key", "project_seq", "phone", unique=True, postgresql_where=text("phone <> ''")),
        Index("users_deleted_idx", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
    )

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    email: Mapped[str] = mapped_column(server_default="")  # lowercase; "" when none
    phone: Mapped[str] = mapped_column(server_default="")  # E.164; "" when none
    password_hash: Mapped[str | None]
    is_enabled: Mapped[bool] = mapped_column(server_default=text("true"))  # the wire's `status`; false: blocked
    labels: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    prefs: Mapped[dict[str, object]] = mapped_column(server_default=text("'{}'"))
    email_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    phone_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    password_updated_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]  # last page of a deletion that takes several; the row goes with the last one
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
