"""No engine runs here, so what can be checked is: whatever the container files name exists, and the numbers fit."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from shared.cli.main import app
from shared.domain.queues import PROVIDER_KINDS
from shared.settings import Settings, read_networks
from shared.simulator.__main__ import _parser as simulator_parser

CHECKOUT = Path(__file__).parents[3]
DEPLOY = CHECKOUT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
WITH_SIMULATOR = DEPLOY / "compose.simulator.yaml"
CONTAINER_FILES = (DEPLOY / "Dockerfile", COMPOSE, WITH_SIMULATOR, DEPLOY / "README.md")

ROLES = ("migrate", "api", "worker", "scheduler")


def service(file: Path, name: str) -> str:
    """The lines of one service; our compose files indent by two and write lists of words as JSON."""
    found = re.search(rf"^  {name}:\n((?:    .*\n|\n)+)", file.read_text(), re.MULTILINE)
    assert found, f"{file.name} has no service {name}"
    return found.group(1)


def command_of(text: str) -> list[str]:
    found = re.search(r"^    command: (\[.*\])$", text, re.MULTILINE)
    assert found
    words: list[str] = json.loads(found.group(1))
    return words


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, pattern
    return int(found.group(1))


def names_of_settings() -> set[str]:
    return {f"TIDINGS_{field.upper()}" for field in Settings.model_fields}


@pytest.mark.parametrize("file", CONTAINER_FILES, ids=lambda file: file.name)
def test_every_variable_named_is_a_setting(file: Path) -> None:
    named = set(re.findall(r"TIDINGS_[A-Z0-9_]+", file.read_text()))
    assert named
    assert named <= names_of_settings()


def test_every_secret_mounted_is_read_as_a_setting(tmp_path: Path) -> None:
    secrets = re.findall(r"^  (tidings_\w+): \{file: \./secrets/\1\}$", COMPOSE.read_text(), re.MULTILINE)
    for name in secrets:
        (tmp_path / name).write_text(f"of {name}\n")

    settings = Settings(_secrets_dir=tmp_path)

    assert settings.database_url == "of tidings_database_url"
    assert settings.broker_url == "of tidings_broker_url"
    assert settings.secret_keys
    assert settings.secret_keys.get_secret_value() == "of tidings_secret_keys"
    assert len(secrets) == 3


@pytest.mark.parametrize("name", ROLES)
def test_every_role_starts_with_a_command_the_image_has(name: str) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    word, *arguments = command_of(service(COMPOSE, name))
    commands[word].make_context(word, arguments)  # a UsageError where it knows an option not


def test_the_simulator_listens_where_all_traffic_is_sent() -> None:
    word, *arguments = command_of(service(WITH_SIMULATOR, "simulator"))
    options = simulator_parser(Path()).parse_args(arguments)
    found = re.findall(r"^  TIDINGS_ENDPOINT_(\w+): (\S+)$", WITH_SIMULATOR.read_text(), re.MULTILINE)
    ports = {"fcm": options.fcm_port, "apns": options.apns_port}
    addresses = {kind: f"https://{options.advertise}:{ports.get(kind, options.https_port)}" for kind in PROVIDER_KINDS}

    assert word == "simulator"
    assert {kind.lower(): where for kind, where in found} == {
        **addresses,
        "smtp": f"{options.advertise}:{options.smtp_port}",
    }
    assert number(r"urlopen\('http://127.0.0.1:(\d+)/", service(WITH_SIMULATOR, "simulator")) == options.http_port


def test_whoever_reaches_providers_or_object_storage_has_a_way_out() -> None:
    for name in ("api", "worker", "scheduler"):
        assert re.search(r"^    networks: \[inside, outside\]", service(COMPOSE, name), re.MULTILINE), name


def test_probes_ask_where_the_roles_answer() -> None:
    api, worker = service(COMPOSE, "api"), service(COMPOSE, "worker")
    metrics_port = number(r'TIDINGS_METRICS_PORT: "(\d+)"', worker)

    assert number(r"urlopen\('http://127.0.0.1:(\d+)/ready'", api) == Settings.model_fields["port"].default
    assert number(r'ports: \["127.0.0.1:\d+:(\d+)"\]', api) == Settings.model_fields["port"].default
    assert number(r"urlopen\('http://127.0.0.1:(\d+)/live'", worker) == metrics_port
    assert number(r'TIDINGS_METRICS_PORT: "(\d+)"', service(COMPOSE, "scheduler")) == metrics_port


def test_the_proxy_that_is_trusted_is_the_gateway_of_the_published_port() -> None:
    (trusted,) = re.findall(r'TIDINGS_TRUSTED_PROXIES: "(\S+)"', service(COMPOSE, "api"))
    (gateway,) = re.findall(r"gateway: ([\d.]+)", COMPOSE.read_text())
    assert [str(network) for network in read_networks(trusted)] == [f"{gateway}/32"]
    assert re.search(r'ports: \["127\.0\.0\.1:', service(COMPOSE, "api")), "nobody but this host comes through it"


def test_a_worker_has_longer_to_stop_than_a_lease() -> None:
    grace_seconds = number(r"stop_grace_period: (\d+)s", service(COMPOSE, "worker"))
    assert grace_seconds > Settings.model_fields["lease_seconds"].default


def test_the_databases_log_quotes_no_rows() -> None:
    words = command_of(service(COMPOSE, "postgres"))
    assert "log_error_verbosity=terse" in words[words.index("-c") + 1 :: 2]


def test_the_build_gets_everything_the_image_is_made_of() -> None:
    sent = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = set(re.findall(r"^COPY (requirements\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE))

    assert packages | copied | {project["project"]["readme"], *project["project"]["license-files"]} <= sent
    assert all((CHECKOUT / name).exists() for name in sent)
