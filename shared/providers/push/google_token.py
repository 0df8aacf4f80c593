"""OAuth access tokens of a Google service account: signed for, fetched once for all workers, renewed in time."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from shared.providers.contract import Account, CredentialsRefused, TokenStore, TokenUnavailable
from shared.providers.transport import Failure, Pool, Reply, Request, Transport

# developers.google.com, "Using OAuth 2.0 for server to server applications": the JWT bearer grant
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
ASSERTION_LIFETIME_SECONDS: Final = 3600  # the most Google takes
MARGIN_SECONDS: Final = 300.0  # a token is renewed this long before it ends

LONGEST_KEY: Final = 4_096
"""Characters of PEM: an RSA key of 4,096 bits has 3,300, Google's have 1,700."""

BEGINS_AS_RSA: Final = re.compile(
    r"\s*-----BEGIN (?:RSA PRIVATE KEY-----|PRIVATE KEY-----\s{1,2}MII[A-Za-z0-9+/]{3}IBADANBgkqhkiG9w0BAQEFAAS)"
)
"""PKCS #1, or PKCS #8 of version 0 and rsaEncryption. Reading one of Diffie-Hellman alone takes 0.3 s."""

LONGEST_MODULUS: Final = 4_096  # bits
COMMON_EXPONENT: Final = 65_537
"""Public, of all keys that Google gives out. One as long as the modulus makes signing take 0.7 s."""

LONGEST_FIELDS: Final = {"project_id": 100, "client_email": 320, "token_uri": 500}
"""Characters. Google's are a fourth as long; the project stands in every request, its other letters written in three.
"""

TOKEN: Final = re.compile(r"[!-~]{1,8192}")
"""An access token, as it stands in each request; Google's have 1,000 characters."""

LONGEST_TOKEN_SECONDS: Final = 86_400.0

PAUSE_SECONDS: Final = 10.0
"""Before another token is asked for where none could be had: else all who send would wait for that, one by one."""

GOOGLE_TOKEN_HOSTS: Final = frozenset({"oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com"})
"""A service account comes from a customer: its token_uri must not make us call addresses inside our network."""


class GoogleToken:
    """The access token of one account: from memory, else from the store, else made and stored."""

    def __init__(
        self,
        account: Account,
        store: TokenStore,
        transport: Transport,
        *,
        purpose: str,
        endpoint: str | None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`endpoint`: an origin that takes token requests in Google's place."""
        self._account = account
        self._store = store
        self._transport = transport
        self._purpose = purpose
        self._endpoint = endpoint
        self._now = now
        self._token: str | None = None
        self._expires_at = 0.0
        self._failure = ""  # why the last attempt to have one made failed
        self._pause_until = 0.0
        self._lock = asyncio.Lock()

    async def current(self) -> str:
        """A token good for some minutes more. Raises CredentialsRefused or TokenUnavailable."""
        if self._is_fresh():
            return self._remembered()
        async with self._lock:
            if self._is_fresh():  # while we waited
                return self._remembered()
            await self._recall()
            if self._is_fresh():
                return self._remembered()
            try:
                return await self._renew()
            except TokenUnavailable:
                if self._expires_at <= self._now():
                    raise
                return self._remembered()  # the old one still serves for some minutes

    async def renewed(self, stale: str) -> str:
        """Another token than `stale`, which the provider no longer takes."""
        async with self._lock:
            if self._token == stale:
                await self._renew()
            return self._remembered()

    def _is_fresh(self) -> bool:
        return self._token is not None and self._expires_at > self._now() + MARGIN_SECONDS

    def _remembered(self) -> str:
        assert self._token is not None
        return self._token

    async def _recall(self) -> None:
        stored = await self._store.get(self._account, self._purpose)
        if stored is not None:
            self._token, self._expires_at = stored

    async def _renew(self) -> str:
        if self._now() < self._pause_until:
            raise TokenUnavailable(self._failure)
        try:
            token = await self._store.renew(
                self._account, self._purpose, stale=self._token, make=self._make, margin_seconds=MARGIN_SECONDS
            )
        except TokenUnavailable as error:
            self._failure, self._pause_until = str(error), self._now() + PAUSE_SECONDS
            raise
        await self._recall()
        self._token = token
        return token

    async def _make(self) -> tuple[str, float]:
        service_account = read_service_account(self._account)
        origin, path = self._where(service_account["token_uri"])
        form = urlencode({"grant_type": GRANT, "assertion": self._assertion(service_account)}).encode()
        request = Request(path, ("content-type: application/x-www-form-urlencoded",), form)
        asked_at = self._now()
        pool = Pool(connections=1, is_careful=True, owner=self._account.owner)
        async for batch in self._transport.exchange(origin, iter([(0, request)]), pool=pool):
            for _, answer in batch:
                return _read_token(answer, asked_at)
        raise TokenUnavailable("the token endpoint gave no answer")

    def _where(self, token_uri: str) -> tuple[str, str]:
        uri = urlsplit(token_uri)
        path = uri.path or "/"
        if self._endpoint is not None:
            return self._endpoint, path
        if uri.scheme != "https" or uri.hostname not in GOOGLE_TOKEN_HOSTS or uri.port not in {None, 443}:
            raise CredentialsRefused("the service account's token_uri is not one of Google's")
        return f"https://{uri.hostname}", path

    def _assertion(self, service_account: Mapping[str, Any]) -> str:
        issued_at = int(self._now())
        claims = {
            "iss": service_account["client_email"],
            "scope": SCOPE,
            "aud": service_account["token_uri"],
            "iat": issued_at,
            "exp": issued_at + ASSERTION_LIFETIME_SECONDS,
        }
        return jwt.encode(claims, _signing_key(service_account["private_key"]), algorithm="RS256")


def _signing_key(pem: str) -> rsa.RSAPrivateKey:
    """Raises CredentialsRefused. Whether its numbers are primes is Google's to judge: testing that takes seconds for a
    long key, and a customer may paste any.
    """
    key = None
    if len(pem) <= LONGEST_KEY and BEGINS_AS_RSA.match(pem):
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = load_pem_private_key(pem.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey) or not _signs_quickly(key):
        raise CredentialsRefused("the service account's private_key is no RSA key in PEM as Google gives out")
    return key


def _signs_quickly(key: rsa.RSAPrivateKey) -> bool:
    numbers = key.private_numbers()
    public = numbers.public_numbers
    parts = (public.n, numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    is_short = all(part.bit_length() <= LONGEST_MODULUS for part in parts)
    return is_short and public.e == COMMON_EXPONENT


def read_service_account(account: Account) -> Mapping[str, Any]:
    """The service account's JSON, which customers paste as an object or as text.

    Raises CredentialsRefused where it cannot be used.
    """
    service_account = account.credentials.get("serviceAccountJSON")
    if isinstance(service_account, str):
        try:
            service_account = json.loads(service_account)
        except (ValueError, RecursionError):
            raise CredentialsRefused("serviceAccountJSON is not JSON") from None
    if not isinstance(service_account, Mapping):
        raise CredentialsRefused("the provider has no serviceAccountJSON")
    for key in ("project_id", "client_email", "private_key", "token_uri"):
        if not isinstance(service_account.get(key), str) or not service_account[key]:
            raise CredentialsRefused(f"serviceAccountJSON has no {key}")
    for key, most in LONGEST_FIELDS.items():
        if len(service_account[key]) > most:
            raise CredentialsRefused(f"serviceAccountJSON has a {key} of more than {most} characters")
    return service_account


def _read_token(answer: Reply | Failure, asked_at: float) -> tuple[str, float]:
    """The token and when it ends. 4xx means the account; all else may pass."""
    if isinstance(answer, Failure):
        raise TokenUnavailable(f"no answer from the token endpoint: {answer.reason}")
    try:
        body = json.loads(answer.body)
        if answer.status == 200:
            return _token_in(body, asked_at)
        error = str(body["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        error = "an answer that is not OAuth's"
    if answer.status in {400, 401, 403}:
        raise CredentialsRefused(f"Google refuses the service account: {error}")
    raise TokenUnavailable(f"the token endpoint answered {answer.status}: {error}")


def _token_in(body: Mapping[str, Any], asked_at: float) -> tuple[str, float]:
    """Raises ValueError, KeyError or TypeError for what is none."""
    token, lasts_seconds = str(body["access_token"]), float(body["expires_in"])
    if not TOKEN.fullmatch(token) or not 0.0 < lasts_seconds <= LONGEST_TOKEN_SECONDS:
        raise ValueError("no token, or none that lasts")
    return token, asked_at + lasts_seconds
