"""Named audiences and who is in them."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, SeqRef, UpdatedAt


class Topic(Base):
    __tablename__ = "topics"
    __table_args__ = (
        # a deleted topic keeps its row until its subscribers are purged in pages; its id is free at once
        Index("topics_id_key", "project_seq", "id", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("topics_project_idx", "project_seq", "seq", postgresql_where=text("deleted_at IS NULL")),
        Index("topics_created_idx", "project_seq", "created_at", "seq", postgresql_where=text("deleted_at IS NULL")),
        Index("topics_deleted_idx", "seq", postgresql_where=text("deleted_at IS NOT NULL")),
    )

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    qos: Mapped[int | None] = mapped_column(SmallInteger)  # of MQTT, kept for those who set it; nothing here reads it
    expiry: Mapped[int | None] = mapped_column(Integer)  # likewise, seconds
    subscribe: Mapped[list[str]] = mapped_column(server_default=text("'{users}'"))  # roles that may subscribe
    email_total: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    sms_total: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    push_total: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Subscriber(Base):
    __tablename__ = "subscribers"
    __table_args__ = (
        UniqueConstraint("project_seq", "id"),
        # one membership per target and topic, and the walk of fan-out: a page of one channel by target_seq
        UniqueConstraint("topic_seq", "channel", "target_seq"),
        Index("subscribers_topic_idx", "topic_seq", "seq"),
        Index("subscribers_created_idx", "topic_seq", "created_at", "seq"),
        # for the deletion of a target; a hash, so that no plan can walk it in order of target_seq through all topics
        Index("subscribers_target_idx", "target_seq", postgresql_using="hash"),
    )

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    topic_seq: Mapped[SeqRef]
    target_seq: Mapped[int] = mapped_column(BigInteger, ForeignKey("targets.seq", ondelete="CASCADE"))
    channel: Mapped[str]  # the target's, kept here so that a page of one channel is one index range
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
