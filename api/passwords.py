"""How users' passwords are kept: scrypt, with its parameters beside each hash so that they can grow."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

COST_CPU = 16_384  # some 50 ms and 16 MB, so hashing belongs in a thread
COST_MEMORY = 8
COST_PARALLEL = 1
LENGTH = 64
SALT_BYTES = 16


def hash_password(password: str) -> str:
    """`scrypt$CPU$MEMORY$PARALLEL$SALT$DIGEST`, the last two in base64."""
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.scrypt(
        password.encode(), salt=salt, n=COST_CPU, r=COST_MEMORY, p=COST_PARALLEL, dklen=LENGTH, maxmem=64 * 1024 * 1024
    )
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return "$".join(("scrypt", str(COST_CPU), str(COST_MEMORY), str(COST_PARALLEL), *encoded))


def is_password(password: str, stored: str) -> bool:
    _, cpu, memory, parallel, salt, digest = stored.split("$")
    expected = base64.b64decode(digest)
    given = hashlib.scrypt(
        password.encode(),
        salt=base64.b64decode(salt),
        n=int(cpu),
        r=int(memory),
        p=int(parallel),
        dklen=len(expected),
        maxmem=64 * 1024 * 1024,
    )
    return hmac.compare_digest(given, expected)


@dataclass(frozen=True, slots=True)
class DescribedHash:
    """A hash as the contract's user model shows it: without the salt, so it is of no use to a reader."""

    algorithm: str
    options: dict[str, Any]
    digest: str


def describe_hash(stored: str) -> DescribedHash:
    algorithm, cpu, memory, parallel, _salt, digest = stored.split("$")
    return DescribedHash(
        algorithm,
        {
            "type": algorithm,
            "costCpu": int(cpu),
            "costMemory": int(memory),
            "costParallel": int(parallel),
            "length": len(base64.b64decode(digest)),
        },
        digest,
    )
