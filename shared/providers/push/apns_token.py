"""APNs provider tokens: a JWT that every process makes alike, so that Apple sees one token for a signing key.

Apple refuses a token older than an hour, and a key whose token changes more often than every twenty minutes
(TooManyProviderTokenUpdates). So `iat` lies on a grid of time and the signature is RFC 6979's deterministic one: all
workers, all accounts with that key and all their versions have the same bytes, without asking each other.
"""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from shared.providers.contract import Account, CredentialsRefused

PERIOD_SECONDS: Final = 40 * 60
SHORT_PERIOD_SECONDS: Final = 20 * 60
"""For a machine whose clock is slow: its tokens look older to Apple than they are here."""

SHORTEST_USE_SECONDS: Final = 20 * 60
LONGEST_AGE_SECONDS: Final = 55 * 60
"""Who starts late in a period keeps its token beyond the end, so that Apple sees no other one within 20 minutes."""

HEAD_START_SECONDS: Final = 60
"""A period's token is used from then on, so that no clock but one faster than that sees it issued in the future."""

LONGEST_KEY: Final = 1_000
"""Characters of PEM: Apple's have 260. A key of another kind may take seconds to read."""

SIGNATURE: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


class ProviderToken:
    """The tokens of one account's signing key."""

    def __init__(self, account: Account, now: Callable[[], float] = time.time) -> None:
        self._account = account
        self._now = now
        self._period = PERIOD_SECONDS
        self._issued_at = 0
        self._used_since = 0.0
        self._token = ""

    def current(self) -> str:
        """Raises CredentialsRefused."""
        now = self._now()
        issued_at = int((now - HEAD_START_SECONDS) // self._period) * self._period
        if issued_at != self._issued_at and not self._may_keep(now):
            self._token, self._issued_at, self._used_since = _sign(self._account, issued_at), issued_at, now
        return self._token

    def _may_keep(self, now: float) -> bool:
        return now - self._used_since < SHORTEST_USE_SECONDS and now - self._issued_at < LONGEST_AGE_SECONDS

    def younger_than(self, stale: str) -> str:
        """Apple calls `stale` expired. Raises CredentialsRefused where it is too young for that."""
        self._period, self._used_since = SHORT_PERIOD_SECONDS, 0.0
        token = self.current()
        if token == stale:
            raise CredentialsRefused("APNs calls a token of the last minutes expired: is this machine's clock right?")
        return token


def _sign(account: Account, issued_at: int) -> str:
    credentials = account.credentials
    header = {"alg": "ES256", "kid": credentials["authKeyId"]}
    claims = {"iss": credentials["teamId"], "iat": issued_at}
    signed = f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(_private_key(account).sign(signed.encode(), SIGNATURE))
    return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _private_key(account: Account) -> ec.EllipticCurvePrivateKey:
    pem = str(account.credentials["authKey"])
    try:
        if len(pem) > LONGEST_KEY:
            raise CredentialsRefused("authKey is longer than a key of APNs: paste the .p8 file and nothing else")
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CredentialsRefused("authKey is no private key in PEM: paste the whole .p8 file") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CredentialsRefused("authKey is not a key of APNs, which are of the curve P-256")
    return key


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
