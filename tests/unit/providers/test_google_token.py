"""Access tokens are renewed before they end, and only where the service account may have them made."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from shared.providers.contract import Account, CredentialsRefused, TokenUnavailable
from shared.providers.push.google_token import LONGEST_KEY, GoogleToken, read_service_account
from shared.providers.tokens import InMemoryTokenStore
from shared.providers.transport import Failure, Pool, Reply, Request

NOW = 1_800_000_000.0
SERVER_ERROR = Reply(503, b"")


class ScriptedTransport:
    """Stands in for the provider's side of the interface; the wire itself is in tests/contract."""

    timeout_seconds = 1.0

    def __init__(self) -> None:
        self.answers: list[Reply | Failure] = []
        self.asked: list[tuple[str, str]] = []

    async def exchange(
        self,
        origin: str,
        requests: Iterator[tuple[int, Request]],
        *,
        pool: Pool | None = None,
        leave_by: float | None = None,
    ) -> AsyncGenerator[list[tuple[int, Reply | Failure]], None]:
        for index, request in requests:
            self.asked.append((origin, request.path))
            made = Reply(200, json.dumps({"access_token": f"t{len(self.asked)}", "expires_in": 3599}).encode())
            yield [(index, self.answers.pop(0) if self.answers else made)]

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def rsa_pem() -> str:
    return pem_of(rsa.generate_private_key(65537, 2048))


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


class Story:
    def __init__(self, pem: str, *, endpoint: str | None = None, **changes: Any) -> None:
        service_account = {
            "project_id": "demo",
            "client_email": "a@demo",
            "private_key": pem,
            "token_uri": "https://oauth2.googleapis.com/token",
            **changes,
        }
        self.now = NOW
        self.transport = ScriptedTransport()
        self.account = Account(1, 1, {"serviceAccountJSON": service_account})
        self.token = GoogleToken(
            self.account,
            InMemoryTokenStore(lambda: self.now),
            self.transport,
            purpose="fcm",
            endpoint=endpoint,
            now=lambda: self.now,
        )


@pytest.fixture
def story(rsa_pem: str) -> Story:
    return Story(rsa_pem)


async def test_a_token_is_kept_until_five_minutes_before_its_end(story: Story) -> None:
    assert await story.token.current() == "t1"
    story.now += 3599 - 301
    assert await story.token.current() == "t1"
    story.now += 2
    assert await story.token.current() == "t2"


async def test_the_old_token_serves_while_no_new_one_can_be_had(story: Story) -> None:
    await story.token.current()
    story.now += 3599 - 100
    story.transport.answers = [SERVER_ERROR, Failure("no answer", never_left=False)]

    assert await story.token.current() == "t1"
    story.now += 200
    with pytest.raises(TokenUnavailable):
        await story.token.current()
    story.now += 10
    assert await story.token.current() == "t4"


async def test_who_waits_for_a_token_that_cannot_be_had_does_not_ask_again(story: Story) -> None:
    """One attempt for all, or the last of them would wait for as many timeouts as there are senders."""
    story.transport.answers = [Failure("no answer", never_left=False)] * 3

    answers = await asyncio.gather(*[story.token.current() for _ in range(3)], return_exceptions=True)

    assert [str(answer) for answer in answers] == ["no answer from the token endpoint: no answer"] * 3
    assert len(story.transport.asked) == 1


async def test_a_stale_token_is_renewed_once_for_all_who_complain(story: Story) -> None:
    first = await story.token.current()

    assert await story.token.renewed(first) == "t2"
    assert await story.token.renewed(first) == "t2"
    assert len(story.transport.asked) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Reply(400, b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}'), CredentialsRefused),
        (Reply(401, b'{"error":"invalid_client"}'), CredentialsRefused),
        (Reply(403, b"<html>"), CredentialsRefused),
        (Reply(404, b"<html>"), TokenUnavailable),
        (Reply(429, b'{"error":"rate"}'), TokenUnavailable),
        (Reply(500, b""), TokenUnavailable),
        (Reply(200, b"<html>"), TokenUnavailable),
        (Reply(200, b'{"access_token":"x"}'), TokenUnavailable),
        (Reply(200, b"[" * 60_000), TokenUnavailable),
        (Reply(200, b'{"access_token":"x","expires_in":Infinity}'), TokenUnavailable),
        (Reply(200, b'{"access_token":"x","expires_in":1e18}'), TokenUnavailable),
        (Reply(200, b'{"access_token":"x","expires_in":-1}'), TokenUnavailable),
        (Reply(200, b'{"access_token":"x\\r\\ny: z","expires_in":3599}'), TokenUnavailable),
        (Reply(200, '{"access_token":"\u0142","expires_in":3599}'.encode()), TokenUnavailable),
        (Reply(200, b'{"access_token":"%s","expires_in":3599}' % (b"x" * 60_000)), TokenUnavailable),
        (Failure("timed out", never_left=False), TokenUnavailable),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_the_token_endpoint_says(story: Story, answer: Reply | Failure, error: type[Exception]) -> None:
    story.transport.answers = [answer]

    with pytest.raises(error):
        await story.token.current()


@pytest.mark.parametrize(
    "token_uri",
    [
        "https://169.254.169.254/latest/meta-data",
        "http://oauth2.googleapis.com/token",
        "https://oauth2.googleapis.com:8443/token",
        "https://oauth2.googleapis.com.evil.example/token",
        "https://oauth2.googleapis.com@10.0.0.1/token",
        "token",
    ],
)
async def test_asks_nobody_but_google(rsa_pem: str, token_uri: str) -> None:
    story = Story(rsa_pem, token_uri=token_uri)

    with pytest.raises(CredentialsRefused):
        await story.token.current()
    assert story.transport.asked == []


async def test_asks_the_endpoint_in_googles_place(rsa_pem: str) -> None:
    story = Story(rsa_pem, endpoint="https://127.0.0.1:9443")

    await story.token.current()

    assert story.transport.asked == [("https://127.0.0.1:9443", "/token")]


@pytest.mark.parametrize(
    "changes",
    [{"private_key": "not a key"}, {"private_key": ""}, {"client_email": None}, {"project_id": 7}, {"token_uri": ""}],
    ids=str,
)
async def test_an_unusable_service_account(rsa_pem: str, changes: dict[str, Any]) -> None:
    with pytest.raises(CredentialsRefused):
        await Story(rsa_pem, **changes).token.current()


@pytest.mark.parametrize("text", ["", "{", "[" * 60_000, "[]"], ids=lambda text: text[:2])
def test_a_service_account_that_is_no_json_object(text: str) -> None:
    with pytest.raises(CredentialsRefused):
        read_service_account(Account(1, 1, {"serviceAccountJSON": text}))


async def test_a_key_that_would_take_seconds_to_sign_with_is_not_looked_at(rsa_pem: str) -> None:
    with pytest.raises(CredentialsRefused):
        await Story(" " * LONGEST_KEY + rsa_pem).token.current()


async def test_a_key_of_another_kind() -> None:
    with pytest.raises(CredentialsRefused):
        await Story(pem_of(ec.generate_private_key(ec.SECP256R1()))).token.current()


@pytest.mark.parametrize(
    ("modulus_bits", "exponent_bits", "private_bits"), [(8_000, 17, 8_000), (16_000, 17, 6_000), (7_400, 7_400, 7_400)]
)
async def test_numbers_that_are_no_key_are_not_signed_with(
    modulus_bits: int, exponent_bits: int, private_bits: int
) -> None:
    """Nobody has tested that they are primes; at these lengths a signature takes half a second."""
    small = [odd_number(100) for _ in range(5)]
    numbers = [0, odd_number(modulus_bits), 65_537, odd_number(private_bits), *small]
    if exponent_bits > 17:
        numbers[2] = odd_number(exponent_bits)
    pem = in_pem("RSA PRIVATE KEY", sequence(*map(integer, numbers)))
    assert len(pem) <= LONGEST_KEY
    with pytest.raises(CredentialsRefused):
        await Story(pem).token.current()


async def test_keys_that_take_long_to_read_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diffie-Hellman's public key is worked out as the private one is read."""
    monkeypatch.delattr("shared.providers.push.google_token.load_pem_private_key")
    group = sequence(bytes.fromhex("06092a864886f70d010301"), sequence(integer(odd_number(9_000)), integer(2)))
    private = integer(odd_number(9_000))
    key = sequence(integer(0), group, b"\x04" + length_of(private) + private)
    with pytest.raises(CredentialsRefused):
        await Story(in_pem("PRIVATE KEY", key)).token.current()


FORMS = (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL)


@pytest.mark.parametrize("encoding", FORMS)
async def test_keys_as_they_are_given_out(encoding: serialization.PrivateFormat) -> None:
    key = rsa.generate_private_key(65537, 3072)
    pem = key.private_bytes(serialization.Encoding.PEM, encoding, serialization.NoEncryption()).decode()
    assert await Story(pem).token.current() == "t1"


@pytest.mark.parametrize("field", ["project_id", "client_email", "token_uri"])
async def test_fields_that_would_fill_every_request(rsa_pem: str, field: str) -> None:
    with pytest.raises(CredentialsRefused):
        read_service_account(Story(rsa_pem, **{field: "x" * 10_000}).account)


def odd_number(bits: int) -> int:
    return 1 << (bits - 1) | 12_345_679


def length_of(content: bytes) -> bytes:
    """As DER has it."""
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([size]) if size < 128 else bytes([0x80 | len(octets)]) + octets


def integer(number: int) -> bytes:
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return b"\x02" + length_of(octets) + octets


def sequence(*parts: bytes) -> bytes:
    content = b"".join(parts)
    return b"\x30" + length_of(content) + content


def in_pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"
