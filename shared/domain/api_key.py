"""API keys: what a secret looks like, what of it is stored, and which scopes there are."""

import hashlib
import secrets

PREFIX = "standard_"
"""What Appwrite's keys start with: a key with an unknown prefix counts as no key at all."""

SCOPES: tuple[str, ...] = (
    "messages.read",
    "messages.write",
    "providers.read",
    "providers.write",
    "topics.read",
    "topics.write",
    "subscribers.read",
    "subscribers.write",
    "targets.read",
    "targets.write",
    "users.read",
    "users.write",
    "buckets.read",
    "buckets.write",
    "files.read",
    "files.write",
    "databases.write",
    "collections.write",
    "documents.write",
    "health.read",
)
"""The scopes that our routes ask for. A key may hold other words too: clients create keys with scopes of Appwrite's."""


def new_secret() -> str:
    """256 random bits, shown once."""
    return f"{PREFIX}{secrets.token_hex(32)}"


def hash_secret(secret: str) -> bytes:
    """What is stored and looked up. A plain hash is enough: 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode()).digest()
