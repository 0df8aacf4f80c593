"""What `tidings key create` makes of odd wishes."""

import json

import pytest

from tests.integration.cli.conftest import Tidings

pytestmark = pytest.mark.usefixtures("installation")

USAGE = 2


@pytest.fixture
def tidings(tidings: Tidings) -> Tidings:
    tidings("project", "create", "Web shop")
    return tidings


@pytest.mark.parametrize("days", ["-1", "36501", "3000000", "1e9", "inf", "nan", "soon"])
def test_a_time_that_no_calendar_has_is_refused(tidings: Tidings, days: str) -> None:
    finished = tidings("key", "create", "--expires-in-days", days)
    assert finished.status == USAGE
    assert "--expires-in-days" in finished.stderr
    assert json.loads(tidings("key", "list", "--json").stdout) == []


def test_a_scope_that_nothing_asks_for_is_kept_and_said(tidings: Tidings) -> None:
    """Clients ask for scopes of Appwrite's; but it may be a slip, too."""
    finished = tidings("key", "create", "--scope", "message.write", "--scope", "topics.read", "--json")
    assert json.loads(finished.stdout)["scopes"] == ["message.write", "topics.read"]
    assert "No endpoint asks for the scope 'message.write'" in finished.stderr
    assert "messages.write" in finished.stderr
    assert "No endpoint" not in tidings("key", "create", "--scope", "topics.read").stderr
