"""Time as the wire shows it. Decisions about due work use the database's clock, never this one."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


def to_wire(moment: datetime) -> str:
    """`2020-10-15T06:38:00.000+00:00`: milliseconds and a numeric UTC offset, as the contract has it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
