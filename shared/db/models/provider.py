"""Configured provider accounts, and the short-lived tokens made from them."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt, ProjectRef, Seq, UpdatedAt


class Provider(Base):
    __tablename__ = "providers"
    __table_args__ = (UniqueConstraint("project_seq", "id"),)

    seq: Mapped[Seq]
    project_seq: Mapped[ProjectRef] = mapped_column(ForeignKey("projects.seq", ondelete="CASCADE"))
    id: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]  # the wire's `provider`: smtp, fcm ...
    channel: Mapped[str]  # the wire's `type`
    enabled: Mapped[bool]
    credentials_encrypted: Mapped[str]  # JSON object; see shared/db/secrets.py
    # what the provider signs receipts with, where the contract's credentials do not say
    receipts_secret_encrypted: Mapped[str | None]
    options: Mapped[dict[str, object]] = mapped_column(server_default=text("'{}'"))
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))  # grows with each update
    fault_reason: Mapped[str | None]  # why its recipients wait: the provider refused the credentials
    fault_since: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class ProviderToken(Base):
    """An OAuth access token or a signed JWT, made once and used by all workers.

    A row whose purpose begins with "making" is the lease of the worker that makes one, and holds none.
    """

    __tablename__ = "provider_tokens"

    provider_seq: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("providers.seq", ondelete="CASCADE"), primary_key=True
    )
    purpose: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer)  # the provider row's version it was made from
    token_encrypted: Mapped[str]
    expires_at: Mapped[datetime]


class ProviderBucket(Base):
    """What a rate-limited account may send now, shared by all workers. Starts empty, so a restart makes no burst."""

    __tablename__ = "provider_buckets"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    provider_seq: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("providers.seq", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    tokens: Mapped[float]  # recipients; at most a tenth of a second's
    filled_at: Mapped[datetime]
