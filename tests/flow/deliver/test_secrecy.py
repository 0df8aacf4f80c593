"""The canary: what is confidential passes through every role and shows in none of their logs, numbers and rings."""

import secrets
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import redis
import requests

from tests.flow.deliver.conftest import Desk
from tests.s3_server import EVERYTHING, SECRET_KEY, Bucket


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


def test_what_callers_prove_themselves_by_is_in_no_log(desk: Desk, canary: str, bucket: Bucket) -> None:
    """Passwords, sessions, JWTs, keys and signed addresses, whether they are accepted or refused; and files."""
    factory, endpoint = desk.installation.factory, desk.installation.endpoint
    project = {"X-Appwrite-Project": factory.project_id}
    key = {**project, "X-Appwrite-Key": factory.key}
    address, password = f"{canary}@example.com", f"password-{canary}"

    def call(method: str, path: str, expected: int, headers: Mapping[str, str], **options: Any) -> Any:
        answer = requests.request(method, endpoint + path, headers=headers, timeout=10, **options)
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.content

    user = {"userId": "unique()", "name": canary, "email": address, "password": password}
    user_id = call("POST", "/users", 201, key, json=user)["$id"]
    login = {"email": address, "password": password}
    call("POST", "/account/sessions/email", 401, project, json={**login, "password": f"wrong-{canary}"})
    call("POST", "/account/sessions/email", 201, project, json=login)
    secret = call("POST", f"/users/{user_id}/sessions", 201, key)["secret"]
    session = {**project, "X-Appwrite-Session": secret}
    jwt = call("POST", "/account/jwts", 201, session)["jwt"]
    call("GET", "/account", 200, {**project, "X-Appwrite-JWT": jwt})
    call("GET", "/account", 401, {**project, "X-Appwrite-JWT": f"{jwt}{canary}"})
    call("GET", "/users", 401, {**project, "X-Appwrite-Key": f"standard_{canary}"})
    call("POST", "/users", 400, key, json={**user, "userId": f"?{canary}"})
    call("POST", "/users", 409, key, json=user)
    target = {"targetId": "second", "providerType": "email", "identifier": f"second-{address}"}
    call("POST", f"/users/{user_id}/targets", 201, key, json=target)
    call("PATCH", f"/users/{user_id}/targets/second", 409, key, json={"identifier": address})

    call("POST", "/storage/buckets", 201, key, json={"bucketId": f"b{canary}", "name": canary})
    files = f"/storage/buckets/b{canary}/files"
    image = b"\x89PNG\r\n\x1a\n" + canary.encode()
    call("POST", files, 201, key, data={"fileId": "image"}, files={"file": (f"{canary}.png", image)})
    push = {"messageId": "unique()", "title": canary, "draft": True, "image": f"b{canary}:image"}
    url = call("POST", "/messaging/messages/push", 201, key, json=push)["data"]["image"]["url"]
    assert requests.get(url, timeout=10).content == image
    bucket.away = EVERYTHING
    assert requests.get(url, timeout=10).status_code == 503
    bucket.away = frozenset()
    assert requests.get(f"{url}{canary}", timeout=10).status_code == 401

    logs = _logs(desk)
    assert "request.storage_trouble" in logs
    for confidential in (canary, secret, jwt, factory.key, url.rpartition("jwt=")[2], SECRET_KEY):
        assert confidential not in logs
