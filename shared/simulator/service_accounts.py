"""Google's side of authentication: service accounts that the simulator issues, the grants and tokens it checks.

Nothing is stored but one private key. An account's e-mail address carries a seal of its project and a token a seal of
its content, so both are known again after a restart.
"""

import hmac
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.errors import ConfigurationError
from shared.simulator.certificates import write_private

MESSAGING_SCOPES = frozenset(
    {"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"}
)
LONGEST_ASSERTION_SECONDS = 3600
CLOCK_LEEWAY_SECONDS = 10
_PROJECT_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LONGEST_PROJECT = 63


class GrantRefused(Exception):
    """The token endpoint says no."""

    def __init__(self, error: str, description: str) -> None:
        """`error` is OAuth's word."""
        super().__init__(description)
        self.error = error
        self.description = description


class ServiceAccounts:
    def __init__(self, key_file: Path) -> None:
        self.token_uri = ""  # where accounts are told to ask for tokens; set once the port is known
        self._key = _load_or_make_key(key_file)
        self._pem = _to_pem(self._key)

    def mint(self, project: str) -> dict[str, str]:
        """The JSON document that Firebase's console would download for the project; the same at every call."""
        if not _is_project_id(project):
            raise ConfigurationError(
                f"{project!r} is no project id: small letters, digits and hyphens, {_LONGEST_PROJECT} at most."
            )
        return {
            "type": "service_account",
            "project_id": project,
            "private_key_id": self._seal("key", project, length=40),
            "private_key": self._pem.decode("ascii"),
            "client_email": self._client_email(project),
            "client_id": str(int(self._seal("client", project, length=16), 16)),
            "token_uri": self.token_uri,
            "universe_domain": "googleapis.com",
        }

    def grant(self, assertion: str, *, lifetime_seconds: int) -> str:
        """An access token for a signed assertion, as RFC 7523 has it. Raises GrantRefused."""
        claims = self._verified(assertion)
        project = self._project_of(str(claims["iss"]))
        self._check_audience(claims["aud"])
        if int(claims["exp"]) - int(claims["iat"]) > LONGEST_ASSERTION_SECONDS + CLOCK_LEEWAY_SECONDS:
            raise GrantRefused("invalid_grant", "The assertion lives longer than an hour.")
        if not MESSAGING_SCOPES & set(str(claims.get("scope", "")).split()):
            raise GrantRefused("invalid_scope", "The assertion names no scope that may send messages.")
        content = f"{project}.{int(time.time()) + lifetime_seconds}"
        return f"ya29.{content}.{self._seal('token', content, length=40)}"

    def project_of_bearer(self, authorization: str) -> str | None:
        """The project that a `Bearer` header may send for; None when it is not ours or has expired."""
        scheme, _, token = authorization.partition(" ")
        parts = token.split(".")
        if scheme.lower() != "bearer" or len(parts) != 4:
            return None
        _, project, expires, seal = parts
        if not hmac.compare_digest(seal.encode(), self._seal("token", f"{project}.{expires}", length=40).encode()):
            return None
        return project if int(expires) > time.time() else None

    def _verified(self, assertion: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                assertion,
                self._key.public_key(),
                algorithms=["RS256"],
                leeway=CLOCK_LEEWAY_SECONDS,
                options={"require": ["iss", "aud", "iat", "exp"], "verify_aud": False},
            )
        except jwt.PyJWTError as error:
            raise GrantRefused("invalid_grant", f"The assertion is not valid: {error}") from error
        return claims

    def _project_of(self, client_email: str) -> str:
        project = client_email.partition("@")[2].partition(".")[0]
        if client_email != self._client_email(project):
            raise GrantRefused("invalid_grant", "No such account was issued here.")
        return project

    def _check_audience(self, audience: object) -> None:
        """Host and path count. The port may be another than when the account was issued: ports can be free ones."""
        ours, named = urlsplit(self.token_uri), urlsplit(str(audience))
        if (named.scheme, named.hostname, named.path) != (ours.scheme, ours.hostname, ours.path):
            raise GrantRefused("invalid_grant", f"The assertion's audience is not {self.token_uri}.")

    def _client_email(self, project: str) -> str:
        return f"firebase-adminsdk-{self._seal('account', project, length=5)}@{project}.iam.gserviceaccount.com"

    def _seal(self, purpose: str, content: str, *, length: int) -> str:
        """Hexadecimal digits that only the holder of the key can make."""
        return hmac.digest(self._pem, f"{purpose}:{content}".encode(), "sha256").hex()[:length]


def _is_project_id(project: str) -> bool:
    return 0 < len(project) <= _LONGEST_PROJECT and set(project) <= _PROJECT_CHARACTERS


def _load_or_make_key(key_file: Path) -> rsa.RSAPrivateKey:
    if key_file.exists():
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write_private(key_file, _to_pem(key))
    return key


def _to_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
