"""Changing the secret key while everything runs: what is left under an older one is found, told, and not lost."""

import json

import pytest

from shared.db.secrets import new_secret_key
from shared.settings import Settings
from tests.factories import Factory
from tests.integration.cli.conftest import Tidings

FAILED = 1


@pytest.fixture
def older(installation: Settings) -> str:
    """The key that the installation was made with."""
    assert installation.secret_keys is not None
    return installation.secret_keys.get_secret_value()


def state_of_secrets(tidings: Tidings) -> tuple[str, str]:
    findings = {finding["check"]: finding for finding in json.loads(tidings("doctor", "--json").stdout)}
    return findings["secrets"]["state"], findings["secrets"]["detail"]


def test_doctor_finds_what_a_role_with_the_older_key_left_after_the_rotation(
    tidings: Tidings, installation: Settings, older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = new_secret_key()
    tidings("migrate")
    monkeypatch.setenv("TIDINGS_SECRET_KEYS", f"{newer},{older}")
    tidings("key", "rotate")
    Factory(installation).provider("smtp", "late", credentials={"host": "mail.example.com"})  # by the older key alone
    assert state_of_secrets(tidings)[0] == "ok"

    monkeypatch.setenv("TIDINGS_SECRET_KEYS", newer)
    assert state_of_secrets(tidings) == (
        "wrong",
        "A stored secret was encrypted with key 'test', which this process does not have.",
    )
    assert tidings("doctor").status == FAILED

    monkeypatch.setenv("TIDINGS_SECRET_KEYS", f"{newer},{older}")
    assert json.loads(tidings("key", "rotate", "--json").stdout) == {"providers": 1}
    monkeypatch.setenv("TIDINGS_SECRET_KEYS", newer)
    assert state_of_secrets(tidings)[0] == "ok"


def test_ids_of_keys_that_look_alike_to_a_pattern_are_different_keys(
    tidings: Tidings, installation: Settings, older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`_` stands for any character in a pattern of SQL, so that the id `t_st` would pass for `test`."""
    newer = "t_st:" + new_secret_key().partition(":")[2]
    tidings("migrate")
    Factory(installation).provider("smtp", "mail", credentials={"host": "mail.example.com"})
    monkeypatch.setenv("TIDINGS_SECRET_KEYS", f"{newer},{older}")
    assert json.loads(tidings("key", "rotate", "--json").stdout) == {"providers": 1}


def test_a_key_whose_id_is_taken_is_refused(tidings: Tidings, older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be unclear which of the two is meant, and what was encrypted with the other were lost."""
    monkeypatch.setenv("TIDINGS_SECRET_KEYS", f"test:{new_secret_key().partition(':')[2]},{older}")
    finished = tidings("key", "rotate")
    assert "two secret keys under the id 'test'" in finished.stderr
    assert finished.status != 0
