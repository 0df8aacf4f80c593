"""Who created, changed or deleted what."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, SeqRef


class AuditEntry(Base):
    """Written in the transaction of the change. It names its actor in full, who may be gone when somebody reads it."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("audit_log_resource_idx", "resource_seq", "resource", "seq"),)

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef]
    resource: Mapped[str]  # message, provider, topic, subscriber
    resource_seq: Mapped[SeqRef]
    resource_id: Mapped[str]
    event: Mapped[str]  # contract §12: message.create ...
    user_type: Mapped[str]  # keyProject, user, guest
    user_id: Mapped[str] = mapped_column(server_default="")
    user_email: Mapped[str] = mapped_column(server_default="")
    user_name: Mapped[str] = mapped_column(server_default="")
    ip: Mapped[str] = mapped_column(server_default="")
    user_agent: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[CreatedAt]
