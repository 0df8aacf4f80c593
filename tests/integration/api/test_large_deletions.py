"""What takes several transactions to delete is gone when the answer comes, with everything that hung on it."""

import pytest

from shared.db.queries import purge
from tests.integration.api.conftest import Caller
from tests.integration.api.logins import log_in


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAGE", "TARGETS_PAGE"):
        monkeypatch.setattr(purge, name, 2)


def test_a_user_of_many_devices_and_sessions(caller: Caller) -> None:
    caller.create_user("other")
    caller.create_topic("news")
    ada = log_in(caller, "ada")
    for number in range(3):
        caller.create("/users/ada/sessions", {})
        own = caller.create_target("ada", f"token-{number}")["$id"]
        others = caller.create_target("other", f"other-{number}")["$id"]
        caller.subscribe("news", own)
        caller.subscribe("news", others)
    assert ada("POST", "/account/targets/push", json={"targetId": "mine", "identifier": "token"}).status == 201

    assert caller.delete("/users/ada").status == 204

    assert caller.get("/users/ada").refusal == (404, "user_not_found")
    assert caller.get("/messaging/topics/news").body["pushTotal"] == 3
    left = caller.rows(
        "SELECT DISTINCT users.id FROM targets JOIN users ON users.seq = user_seq"
        " WHERE targets.project_seq = %(project)s"
    )
    assert left == [("other",)]
    assert caller.rows("SELECT FROM user_sessions WHERE project_seq = %(project)s") == []
    assert ada("GET", "/account").status == 401
    assert caller.delete("/users/ada").refusal == (404, "user_not_found")
    # every identifier is free again
    assert caller.create_user("eve", email="ada@example.com")["email"] == "ada@example.com"
    assert caller.create_target("eve", "token-0")["userId"] == "eve"
