"""The ground the other tests stand on."""

import socket

import psycopg
import pytest

from shared.settings import Settings
from tests.conftest import OutsideTraffic


def test_each_test_gets_a_migrated_database_of_its_own(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (0,)


def test_settings_point_at_this_tests_servers(settings: Settings, database_url: str, broker_url: str) -> None:
    assert settings.require_database_url() == database_url
    assert settings.require_broker_url() == broker_url


@pytest.mark.parametrize("address", ["192.0.2.1", "example.org", "2001:db8::1"])
def test_no_test_reaches_another_machine(address: str) -> None:
    with pytest.raises(OutsideTraffic):
        socket.create_connection((address, 80), timeout=1)
