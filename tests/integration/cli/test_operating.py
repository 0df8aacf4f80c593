"""The operator's commands, on real servers."""

import json

import pytest
import redis

from shared.db.queries.providers import credentials_context
from shared.db.secrets import SecretBox, new_secret_key, parse_secret_keys
from shared.settings import Settings
from tests.factories import Factory
from tests.integration.cli.conftest import Tidings
from tests.s3_server import ACCESS_KEY, SECRET_KEY, object_variables, serve_bucket

pytestmark = pytest.mark.usefixtures("installation")

FAILED, USAGE = 1, 2


def findings(stdout: str) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in json.loads(stdout)}


def test_migrating_twice_changes_nothing(
    tidings: Tidings, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_DATABASE_URL", empty_database_url)
    first = json.loads(tidings("migrate", "--json").stdout)
    second = json.loads(tidings("migrate", "--json").stdout)
    assert first["before"] is None
    assert second == {"before": first["after"], "after": first["after"]}


def test_a_key_is_made_listed_and_revoked(tidings: Tidings) -> None:
    project = json.loads(tidings("project", "create", "Web shop", "--id", "shop", "--json").stdout)
    assert project["id"] == "shop"

    key = json.loads(tidings("key", "create", "--scope", "messages.write", "--name", "app", "--json").stdout)
    assert key["secret"].startswith("standard_")
    assert key["scopes"] == ["messages.write"]

    listed = tidings("key", "list", "--json").stdout
    assert [each["id"] for each in json.loads(listed)] == [key["id"]]
    assert key["secret"] not in listed

    assert tidings("key", "revoke", key["id"]).status == 0
    assert json.loads(tidings("key", "list", "--json").stdout) == []
    again = tidings("key", "revoke", key["id"])
    assert (again.status, again.stderr.splitlines()[0]) == (FAILED, f"Error: There is no key '{key['id']}'.")


def test_the_project_must_be_named_when_there_are_several(tidings: Tidings) -> None:
    tidings("project", "create", "One", "--id", "one")
    tidings("project", "create", "Two", "--id", "two")
    unnamed = tidings("key", "create")
    assert (unnamed.status, unnamed.stderr.splitlines()[0]) == (USAGE, "Error: There are 2 projects.")
    assert tidings("key", "create", "--project", "two").stdout.startswith("standard_")
    assert tidings("key", "create", "--project", "three").status == USAGE


def test_a_project_of_the_same_id_is_left_alone(tidings: Tidings) -> None:
    tidings("project", "create", "First", "--id", "shop")
    assert tidings("project", "create", "Second", "--id", "shop").status == FAILED
    assert [each["name"] for each in json.loads(tidings("project", "list", "--json").stdout)] == ["First"]


def test_a_project_is_told_to_mask_credentials(tidings: Tidings) -> None:
    created = json.loads(tidings("project", "create", "Web shop", "--id", "shop", "--json").stdout)
    assert created["mask_credentials"] is False
    assert tidings("project", "update", "shop", "--mask-credentials").stdout == (
        "Project shop is called Web shop; credentials are masked.\n"
    )
    tidings("project", "update", "shop", "--name", "Shop")
    assert json.loads(tidings("project", "list", "--json").stdout) == [
        {**created, "name": "Shop", "mask_credentials": True}
    ]
    shown = json.loads(tidings("project", "update", "shop", "--show-credentials", "--json").stdout)
    assert (shown["name"], shown["mask_credentials"]) == ("Shop", False)
    assert tidings("project", "update", "none", "--mask-credentials").status == USAGE


def test_a_project_is_closed_to_guests_and_told_how_many_sessions_users_may_have(tidings: Tidings) -> None:
    created = json.loads(tidings("project", "create", "Web shop", "--id", "shop", "--json").stdout)
    assert (created["sign_up"], created["sessions_limit"]) == (True, 10)
    finished = tidings("project", "update", "shop", "--no-sign-up", "--sessions", "3")
    assert finished.stdout.splitlines()[1:] == ["Guests may not sign up.", "Each user may have 3 sessions."]
    shown = json.loads(tidings("project", "update", "shop", "--sign-up", "--json").stdout)
    assert (shown["sign_up"], shown["sessions_limit"]) == (True, 3)
    assert tidings("project", "update", "shop", "--sessions", "0").status == USAGE


def test_config_lists_every_setting_and_masks_what_is_secret(tidings: Tidings, installation: Settings) -> None:
    finished = tidings("config", "--json")
    rows = {row["name"]: row for row in json.loads(finished.stdout)}
    assert set(rows) == {f"TIDINGS_{name.upper()}" for name in Settings.model_fields}
    assert all(row["description"] for row in rows.values())
    assert rows["TIDINGS_WINDOW"]["value"] == installation.window
    assert rows["TIDINGS_DATABASE_URL"]["value"].startswith("postgresql://tidings:********@127.0.0.1:")
    assert installation.secret_keys is not None
    for url in (installation.require_database_url(), installation.require_broker_url()):
        assert url.partition("@")[0].rpartition(":")[2] not in finished.stdout
    assert installation.secret_keys.get_secret_value() not in finished.stdout


def test_config_masks_all_of_an_address_that_cannot_be_read(tidings: Tidings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_FILES_ENDPOINT", "http://tidings:hu/sh@127.0.0.1:9000")
    listed = tidings("config")
    assert listed.status == 0
    assert "hu/sh" not in listed.stdout


def test_config_lists_the_defaults_beside_a_wrong_setting(tidings: Tidings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_WINDOW", "many")
    finished = tidings("config")
    assert finished.status == USAGE
    assert "TIDINGS_LEASE_SECONDS" in finished.stdout
    assert "TIDINGS_WINDOW" in finished.stderr


def test_doctor_finds_nothing_wrong_with_a_good_installation(tidings: Tidings) -> None:
    tidings("migrate")
    finished = tidings("doctor", "--json")
    assert {check: finding["state"] for check, finding in findings(finished.stdout).items()} == dict.fromkeys(
        ["database", "migrations", "clock", "connections", "secrets", "live", "broker", "files", "proxies"], "ok"
    )
    assert finished.status == 0


@pytest.mark.parametrize(
    ("trusted", "scheme", "words"),
    [
        ("", "http", "ok: No proxy is trusted"),
        ("", "https", "warning: No proxy is trusted"),
        ("10.90.0.1, fd00::/64", "https", "from 10.90.0.1/32, fd00::/64 alone"),
        ("0.0.0.0/0", "https", "warning: Whoever connects from 0.0.0.0/0"),
    ],
)
def test_doctor_says_which_proxies_are_trusted(
    tidings: Tidings, monkeypatch: pytest.MonkeyPatch, trusted: str, scheme: str, words: str
) -> None:
    monkeypatch.setenv("TIDINGS_TRUSTED_PROXIES", trusted)
    monkeypatch.setenv("TIDINGS_PUBLIC_URL", f"{scheme}://api.example.com")
    finding = findings(tidings("doctor", "--json").stdout)["proxies"]
    assert words in f"{finding['state']}: {finding['detail']}"


def test_a_trusted_proxy_that_is_no_address_is_a_wrong_setting(
    tidings: Tidings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_TRUSTED_PROXIES", "proxy.internal")
    finished = tidings("doctor")
    assert finished.status == USAGE
    assert "TIDINGS_TRUSTED_PROXIES" in finished.stderr


def test_config_and_doctor_keep_the_keys_of_the_file_storage_to_themselves(
    tidings: Tidings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tidings("migrate")
    with serve_bucket() as bucket:
        for name, value in object_variables(bucket).items():
            monkeypatch.setenv(name, value)
        good, shown = tidings("doctor", "--json"), tidings("config")
        bucket.troubles = [(403, "AccessDenied")]
        refused = tidings("doctor", "--json")
        monkeypatch.setenv("TIDINGS_FILES_URL", "tidings")
        unreadable = tidings("doctor", "--json")
    assert findings(good.stdout)["files"]["detail"] == "Files can be written, read and deleted in s3://tidings/files."
    assert findings(refused.stdout)["files"]["state"] == "unreachable"
    assert "AccessDenied" in findings(refused.stdout)["files"]["detail"]
    assert (findings(unreadable.stdout)["files"]["state"], unreadable.status) == ("wrong", FAILED)
    assert bucket.endpoint in shown.stdout
    for finished in (good, shown, refused):
        assert SECRET_KEY not in finished.stdout + finished.stderr
        assert ACCESS_KEY not in finished.stdout + finished.stderr


def test_doctor_notices_other_secret_keys(tidings: Tidings, monkeypatch: pytest.MonkeyPatch) -> None:
    tidings("migrate")
    monkeypatch.setenv("TIDINGS_SECRET_KEYS", new_secret_key())
    finished = tidings("doctor", "--json")
    assert findings(finished.stdout)["secrets"]["state"] == "wrong"
    assert finished.status == FAILED


def test_migrate_refuses_to_go_on_with_other_secret_keys(tidings: Tidings, monkeypatch: pytest.MonkeyPatch) -> None:
    tidings("migrate")
    monkeypatch.setenv("TIDINGS_SECRET_KEYS", new_secret_key())
    assert tidings("migrate").status == USAGE


def test_doctor_counts_connections_against_the_servers_limit(tidings: Tidings) -> None:
    finished = tidings("doctor", "--workers", "500", "--json")
    found = findings(finished.stdout)["connections"]
    assert found["state"] == "wrong"
    assert "500 worker x 7" in found["detail"]
    assert finished.status == FAILED


def test_doctor_notices_a_missing_migration(
    tidings: Tidings, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_DATABASE_URL", empty_database_url)
    finished = tidings("doctor", "--json")
    assert findings(finished.stdout)["migrations"]["hint"] == "Run `tidings migrate`."
    assert finished.status == FAILED


def test_doctor_warns_of_a_broker_that_drops_keys(tidings: Tidings, installation: Settings) -> None:
    with redis.Redis.from_url(installation.require_broker_url()) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        finished = tidings("doctor", "--json")
        client.config_set("maxmemory-policy", "noeviction")
    assert findings(finished.stdout)["broker"]["state"] == "warning"
    assert "allkeys-lru" in findings(finished.stdout)["broker"]["detail"]


def test_doctor_says_which_server_cannot_be_reached(tidings: Tidings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_BROKER_URL", "redis://127.0.0.1:1/0")
    finished = tidings("doctor")
    assert finished.status == 4
    assert "broker" in finished.stdout
    assert "127.0.0.1:1" in finished.stdout


def test_an_installation_is_not_live_until_it_is_told(tidings: Tidings) -> None:
    assert json.loads(tidings("live", "--json").stdout) == {"live": False}
    assert json.loads(tidings("live", "on", "--json").stdout) == {"live": True}
    assert json.loads(tidings("live", "--json").stdout) == {"live": True}
    assert json.loads(tidings("live", "off", "--json").stdout) == {"live": False}
    assert tidings("live", "perhaps").status == USAGE


def test_an_older_secret_key_may_go_after_a_rotation(
    tidings: Tidings, installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory = Factory(installation)
    factory.provider("smtp", "mail", credentials={"host": "mail.example.com"})
    assert installation.secret_keys is not None
    older, newer = installation.secret_keys.get_secret_value(), new_secret_key()

    monkeypatch.setenv("TIDINGS_SECRET_KEYS", f"{newer},{older}")
    assert json.loads(tidings("key", "rotate", "--json").stdout) == {"providers": 1}
    assert json.loads(tidings("key", "rotate", "--json").stdout) == {"providers": 0}

    with factory.connect() as connection:
        row = connection.execute("SELECT credentials_encrypted FROM providers").fetchone()
    assert row is not None
    box = SecretBox(parse_secret_keys(newer))
    assert json.loads(box.decrypt(str(row[0]), context=credentials_context(factory.project_seq, "mail"))) == {
        "host": "mail.example.com"
    }
