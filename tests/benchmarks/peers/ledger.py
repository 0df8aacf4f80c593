"""A peer's record of deliveries: one row per recipient, as anybody would first write it."""

from datetime import datetime

from sqlalchemy import DateTime, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class PeerDelivery(Base):
    __tablename__ = "peer_deliveries"

    run: Mapped[str] = mapped_column(Text, primary_key=True)
    recipient: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
