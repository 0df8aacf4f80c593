"""The JWTs we sign: users' own (contract §15) and those in a push image's address (§8.3)."""

import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import jwt
from jwt.types import Options

from shared.db.secrets import SecretKey

ALGORITHM = "HS256"


class Purpose(StrEnum):
    """What a token is for. Each has keys of its own, so that none can stand in for another."""

    USER = "user"
    PUSH_IMAGE = "push-image"


class TokenRefused(Exception):  # named for what happened
    """Malformed, expired, or signed by somebody else, for another project or for another purpose."""


class TokenSigner:
    """Signs with the newest key, verifies with whichever the token names."""

    def __init__(self, keys: Sequence[SecretKey]) -> None:
        """`keys`: newest first, at least one; never used as they are, but to derive one for each purpose."""
        self._newest = keys[0].id
        self._keys = {key.id: key.key for key in keys}

    def sign(self, purpose: Purpose, project_id: str, claims: dict[str, Any], *, expires_at: float) -> str:
        """`expires_at`: Unix seconds."""
        return jwt.encode(
            {**claims, "exp": int(expires_at)},
            self._derive(self._newest, purpose, project_id),
            algorithm=ALGORITHM,
            headers={"kid": self._newest},
        )

    def verify(self, purpose: Purpose, project_id: str, token: str, *, now: datetime) -> dict[str, Any]:
        """The claims. Raises TokenRefused. `now`: by the clock that it was signed by, whichever machine that was."""
        try:
            key = self._derive(jwt.get_unverified_header(token).get("kid", ""), purpose, project_id)
            options: Options = {"require": ["exp"], "verify_exp": False}
            claims: dict[str, Any] = jwt.decode(token, key, algorithms=[ALGORITHM], options=options)
        except jwt.PyJWTError as error:
            raise TokenRefused(str(error)) from error
        if claims["exp"] <= now.timestamp():
            raise TokenRefused("Signature has expired")
        return claims

    def fingerprint(self, *texts: str) -> bytes:
        """32 bytes that stand for these texts, and from which nobody without the key can find them by trying."""
        key = hmac.digest(self._keys[self._newest], b"fingerprint", "sha256")
        return hmac.digest(key, json.dumps(texts).encode(), "sha256")

    def _derive(self, key_id: str, purpose: Purpose, project_id: str) -> bytes:
        if key_id not in self._keys:
            raise TokenRefused("The token names a key that this installation does not have.")
        return hmac.digest(self._keys[key_id], f"token\n{purpose}\n{project_id}".encode(), "sha256")
