"""The database's clock between two statements."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.clock import DatabaseClock

LONG_AGO = datetime(2020, 2, 29, tzinfo=UTC)


def test_it_follows_the_database_and_not_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monotonic = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    clock = DatabaseClock()

    clock.read(LONG_AGO)
    monotonic += 90.5

    assert clock.now() == LONG_AGO + timedelta(seconds=90.5)


def test_a_later_reading_replaces_an_earlier_one_also_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    clock = DatabaseClock()
    clock.read(datetime.now(UTC))

    clock.read(LONG_AGO)

    assert clock.now() == LONG_AGO


def test_until_the_first_statement_it_takes_the_host_s_word() -> None:
    before = datetime.now(UTC)

    assert before <= DatabaseClock().now() <= datetime.now(UTC) + timedelta(seconds=1)
