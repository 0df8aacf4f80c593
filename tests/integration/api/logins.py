"""Logged-in users for tests: made by a key, calling without it."""

from dataclasses import dataclass
from typing import Any

from tests.integration.api.conftest import Answer, Caller


@dataclass(slots=True)
class User:
    """Calls with a session of its own."""

    caller: Caller
    id: str
    secret: str

    def __call__(self, method: str, path: str, **options: Any) -> Answer:
        headers = {"X-Appwrite-Key": None, "X-Appwrite-Session": self.secret, **options.pop("headers", {})}
        return self.caller(method, path, headers=headers, **options)

    def post(self, path: str, body: object = None, **options: Any) -> Answer:
        return self("POST", path, json=body, **options)


def log_in(caller: Caller, user_id: str) -> User:
    """A new user with a session."""
    caller.create_user(user_id, email=f"{user_id}@example.com")
    return User(caller, user_id, caller.create(f"/users/{user_id}/sessions", {})["secret"])


def as_guest(caller: Caller, method: str, path: str, **options: Any) -> Answer:
    headers = {"X-Appwrite-Key": None, **options.pop("headers", {})}
    return caller(method, path, headers=headers, **options)
