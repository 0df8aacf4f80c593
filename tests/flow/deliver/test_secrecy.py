"""The canary: what is confidential passes through every role and shows in none of their logs, numbers and rings."""

import secrets
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.flow.deliver.conftest import Desk


@pytest.fixture
def canary() -> str:
    return f"canary{secrets.token_hex(8)}"


@contextmanager
def _overheard(desk: Desk) -> Iterator[list[str]]:
    """Every command that reaches the broker meanwhile."""
    assert desk.installation.system.redis is not None
    commands: list[str] = []
    with redis.Redis.from_url(desk.installation.system.redis.url) as client, client.monitor() as monitor:

        def listen() -> None:
            for command in monitor.listen():
                commands.append(str(command["command"]))
                if "the end" in commands[-1]:
                    return

        listener = threading.Thread(target=listen)
        listener.start()
        yield commands
        with redis.Redis.from_url(desk.installation.system.redis.url) as other:
            other.echo("the end")
        listener.join()


def _numbers(desk: Desk) -> str:
    """/metrics of every role that has them."""
    pages = []
    for role in desk.installation.system.roles:
        if port := role.environment.get("TIDINGS_METRICS_PORT"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                pages.append(page.read().decode())
    with urllib.request.urlopen(desk.installation.endpoint.removesuffix("/v1") + "/metrics") as page:  # noqa: S310
        pages.append(page.read().decode())
    return "\n".join(pages)


def _logs(desk: Desk) -> str:
    return "\n".join(log.read_text(errors="replace") for log in desk.installation.system.directory.logs.iterdir())


def test_a_canary_is_heard_by_the_recipients_alone(desk: Desk, canary: str) -> None:
    words = ("alive", "full", "greylist")
    people = [desk.people(1, channel="email", word=word) for word in words]
    for topic in people:
        desk.do("UPDATE targets SET identifier = %s || identifier WHERE id = %s", f"{canary}.", f"{topic}-1")
    provider = {"host": "mail.example.com", "username": f"user-{canary}", "password": f"secret-{canary}"}
    body = {"subject": f"Subject {canary}", "content": f"Body {canary}", "topics": people}
    desk.installation.set_faults(smtp={"username": "somebody", "password": "else"})

    with _overheard(desk) as commands:
        created = desk.call(
            "POST",
            "/messaging/providers/smtp",
            {
                "providerId": canary[:20],
                "name": "Guarded",
                "fromEmail": "news@example.com",
                "enabled": True,
                **provider,
            },
        )
        assert created.status_code == 201
        desk.do("UPDATE targets SET provider_id = %s WHERE identifier LIKE %s", canary[:20], f"{canary}%")
        accepted = desk.call("POST", "/messaging/messages/email", {"messageId": f"m{canary[:20]}", **body})
        assert accepted.status_code == 201
        desk.until("SELECT FROM providers WHERE id = %s AND fault_reason IS NOT NULL", canary[:20])
        desk.installation.set_faults(smtp={})
        ((run,),) = desk.ask("SELECT run FROM messages WHERE id = %s", f"m{canary[:20]}")
        assert desk.finish(run).sent == 2

    assert canary in desk.captured(people[0])[0]["raw"]
    assert len(commands) > 1
    for heard in (_logs(desk), _numbers(desk), "\n".join(commands)):
        assert heard
        assert canary not in heard
    desk.do("DELETE FROM providers WHERE id = %s", canary[:20])
