"""Apple's side of authentication: the signing keys that the simulator hands out, and the provider tokens it checks.

Nothing is stored: a team's key follows from the simulator's own, so it is known again after a restart.
"""

import time
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.simulator.keyring import Keyring

LONGEST_AGE_SECONDS = 3600
CLOCK_LEEWAY_SECONDS = 60
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

UPDATE_SECONDS = 20 * 60
MOST_TOKENS = 2
"""Of a key within that time: the old and the new one of a renewal, which not all machines make at the same second."""


class TokenRefused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        """`reason` is Apple's word."""
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A provider token whose signature is good."""

    team: str
    key_id: str
    issued_at: float


class SigningKeys:
    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._read: dict[str, SignedToken] = {}  # those seen before; signatures are dear
        self._seen: dict[str, dict[str, float]] = {}  # key id -> its tokens -> when each was first seen

    def key_id(self, team: str) -> str:
        return self._keyring.secret(f"apns key id {team}", 10).upper()

    def pem(self, team: str) -> str:
        """The .p8 file that Apple would let the team download."""
        encoding, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
        return self._private_key(team).private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_password).decode()

    def check(self, authorization: str) -> SignedToken:
        """Raises TokenRefused."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "bearer" or not encoded:
            raise TokenRefused(403, "MissingProviderToken")
        token = self._read.get(encoded) or self._verified(encoded)
        age = time.time() - token.issued_at
        if age > LONGEST_AGE_SECONDS:
            raise TokenRefused(403, "ExpiredProviderToken")
        if age < -CLOCK_LEEWAY_SECONDS:
            raise TokenRefused(403, "InvalidProviderToken")
        self._count(encoded, token.key_id)
        self._read[encoded] = token
        return token

    def _verified(self, encoded: str) -> SignedToken:
        try:
            header, claims = (
                jwt.get_unverified_header(encoded),
                jwt.decode(encoded, options={"verify_signature": False}),
            )
            team, key_id, issued_at = str(claims["iss"]), str(header["kid"]), float(claims["iat"])
            if key_id != self.key_id(team):
                raise TokenRefused(403, "InvalidProviderToken")
            self._verify(encoded, team)
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as error:
            raise TokenRefused(403, "InvalidProviderToken") from error
        return SignedToken(team, key_id, issued_at)

    def _verify(self, encoded: str, team: str) -> None:
        """The signature alone: times are judged apart, in Apple's words."""
        options: Any = {"verify_iat": False, "verify_exp": False}
        jwt.decode(encoded, self._private_key(team).public_key(), algorithms=["ES256"], options=options)

    def _count(self, encoded: str, key_id: str) -> None:
        now = time.time()
        seen = self._seen.setdefault(key_id, {})
        if encoded in seen:
            return
        lately = [token for token, first_seen_at in seen.items() if now - first_seen_at < UPDATE_SECONDS]
        if len(lately) >= MOST_TOKENS:
            raise TokenRefused(429, "TooManyProviderTokenUpdates")
        seen[encoded] = now

    def _private_key(self, team: str) -> ec.EllipticCurvePrivateKey:
        number = int(self._keyring.secret(f"apns key {team}", 64), 16) % (P256_ORDER - 1) + 1
        return ec.derive_private_key(number, ec.SECP256R1())
