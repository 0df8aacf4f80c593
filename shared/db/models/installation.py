"""The one row about this installation as a whole, and when each tick last ran."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.base import Base, CreatedAt


class Installation(Base):
    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("one = 1", name="one_row"),)

    one: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False, server_default=text("1"))
    # False: no worker connects to a provider's real address, so a first try never reaches a real person
    live: Mapped[bool] = mapped_column(server_default=text("false"))
    # a known word encrypted with the newest secret key: tells whether this process holds the right keys
    secret_check: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class Tick(Base):
    """A periodic job. Whoever moves `ran_at` runs it: two schedulers share the work without talking."""

    __tablename__ = "ticks"

    name: Mapped[str] = mapped_column(primary_key=True)
    ran_at: Mapped[datetime]
