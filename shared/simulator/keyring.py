"""Secrets of the simulated accounts: made of one key in the simulator's directory, so they outlast restarts."""

import hmac
import secrets
from hashlib import sha256
from pathlib import Path

from shared.simulator.certificates import write_private


class Keyring:
    def __init__(self, path: Path) -> None:
        if not path.exists():
            write_private(path, secrets.token_bytes(32))
        self._key = path.read_bytes()

    def secret(self, name: str, length: int = 32) -> str:
        """Hexadecimal digits, always the same ones for a name; at most 64."""
        return hmac.new(self._key, name.encode(), sha256).hexdigest()[:length]
