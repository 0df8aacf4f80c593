"""Which servers an account names, and which of them we dare to call."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from shared.domain.outcome import AccountFault, Retry
from shared.providers.contract import Account
from shared.providers.email.hosts import AllowedHosts, NoConnection, Security, SmtpHost, hosts_of, overriding_host


def hosts(host: str, **fields: Any) -> list[tuple[str, int, Security]]:
    credentials = {"host": host, **{key: fields.pop(key) for key in ("port",) if key in fields}}
    return [(found.name, found.port, found.security) for found in hosts_of(Account(1, 1, credentials, fields))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail.example.com", [("mail.example.com", 587, Security.WHERE_OFFERED)]),
        (
            "one.example.com:25; tls://two.example.com ;ssl://three.example.com:465;",
            [
                ("one.example.com", 25, Security.WHERE_OFFERED),
                ("two.example.com", 587, Security.STARTTLS),
                ("three.example.com", 465, Security.IMPLICIT),
            ],
        ),
        ("ssl://mail.example.com", [("mail.example.com", 587, Security.IMPLICIT)]),
        ("SSL://Mail.Example.COM", [("mail.example.com", 587, Security.IMPLICIT)]),
        ("[2001:db8::1]", [("2001:db8::1", 587, Security.WHERE_OFFERED)]),
        ("tls://[2001:db8::1]:2525", [("2001:db8::1", 2525, Security.STARTTLS)]),
        ("localhost", [("localhost", 587, Security.NONE)]),
        ("tls://localhost", [("localhost", 587, Security.STARTTLS)]),
    ],
)
def test_host_list(text: str, expected: list[tuple[str, int, Security]]) -> None:
    assert hosts(text) == expected


def test_the_account_fills_what_an_entry_leaves_out() -> None:
    assert hosts("a.example;b.example:25", port=2525, encryption="ssl") == [
        ("a.example", 2525, Security.IMPLICIT),
        ("b.example", 25, Security.IMPLICIT),
    ]
    assert hosts("a.example", encryption="tls") == [("a.example", 587, Security.STARTTLS)]
    assert hosts("a.example", encryption="", autoTLS=False) == [("a.example", 587, Security.NONE)]
    assert hosts("ssl://a.example", encryption="tls", autoTLS=False) == [("a.example", 587, Security.IMPLICIT)]


@pytest.mark.parametrize(
    "text",
    ["", " ; ", "http://a.example", "a.example:0", "a.example:65536", "2001:db8::1", "user@a.example", "a b", "a/b"],
)
def test_what_is_no_host_list(text: str) -> None:
    with pytest.raises(NoConnection) as error:
        hosts(text)
    assert isinstance(error.value.outcome, AccountFault)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:2525", "smtp://127.0.0.1:2525"])
def test_an_endpoint_replaces_the_list(endpoint: str) -> None:
    assert overriding_host(endpoint) == SmtpHost("127.0.0.1", 2525, Security.WHERE_OFFERED, is_trusted=True)


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.1.2.3",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "fec0::1",
]
PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]


@pytest.fixture
def look_up(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let names lead to these addresses."""

    def answer(*addresses: str) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 25)) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return answer


async def resolve(name: str, allowed: str = "") -> list[str]:
    return await AllowedHosts(allowed).resolve(SmtpHost(name, 25, Security.NONE))


@pytest.mark.parametrize("address", PRIVATE)
async def test_customers_cannot_reach_inside(address: str, look_up: Callable[..., None]) -> None:
    look_up(address)

    with pytest.raises(NoConnection) as error:
        await resolve("mail.example.com")

    assert isinstance(error.value.outcome, AccountFault)
    assert "TIDINGS_SMTP_ALLOWED_HOSTS" in error.value.outcome.reason


@pytest.mark.parametrize("address", PUBLIC)
async def test_public_addresses_are_free(address: str, look_up: Callable[..., None]) -> None:
    look_up(address)

    assert await resolve("mail.example.com") == [address]


async def test_only_what_is_public_is_called(look_up: Callable[..., None]) -> None:
    look_up("10.0.0.1", "93.184.216.34")

    assert await resolve("mail.example.com") == ["93.184.216.34"]


@pytest.mark.parametrize(
    "allowed", ["relay.internal", "other, Relay.Internal", "10.0.0.0/8", "10.0.0.7", "fc00::/7,10.0.0.0/29"]
)
async def test_the_operator_can_allow_it(allowed: str, look_up: Callable[..., None]) -> None:
    look_up("10.0.0.7")

    assert await resolve("relay.internal", allowed) == ["10.0.0.7"]


@pytest.mark.parametrize("allowed", ["other.internal", "192.168.0.0/16", "internal"])
async def test_allowing_one_allows_no_other(allowed: str, look_up: Callable[..., None]) -> None:
    look_up("10.0.0.7")

    with pytest.raises(NoConnection):
        await resolve("relay.internal", allowed)


async def test_a_real_look_up() -> None:
    assert "127.0.0.1" in await resolve("localhost", "localhost")
    with pytest.raises(NoConnection):
        await resolve("localhost")


async def test_a_name_that_leads_nowhere_may_do_so_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(NoConnection) as error:
        await resolve("mail.example.com")
    assert isinstance(error.value.outcome, Retry)


@pytest.mark.parametrize("port", [22, 6379, 5432, 11211, 1025])
async def test_ports_where_no_mail_is_taken_are_not_knocked_at(port: int, look_up: Callable[..., None]) -> None:
    look_up("93.184.216.34")

    with pytest.raises(NoConnection) as error:
        await AllowedHosts("").resolve(SmtpHost("example.com", port, Security.NONE))

    assert isinstance(error.value.outcome, AccountFault)
    assert f"port {port} of example.com" in error.value.outcome.reason


@pytest.mark.parametrize("allowed", ["mail.example.com", "93.184.216.0/24"])
async def test_the_operator_can_allow_any_port(allowed: str, look_up: Callable[..., None]) -> None:
    look_up("93.184.216.34")

    host = SmtpHost("mail.example.com", 1025, Security.NONE)
    assert await AllowedHosts(allowed).resolve(host) == ["93.184.216.34"]


async def test_few_of_many_addresses_are_tried(look_up: Callable[..., None]) -> None:
    look_up(*(f"93.184.216.{number}" for number in range(200)))

    assert await resolve("mail.example.com") == [f"93.184.216.{number}" for number in range(4)]


@pytest.mark.parametrize("fields", [{}, {"port": "many"}, {"port": [1]}, {"port": {"a": 1}}], ids=str)
def test_neither_many_hosts_nor_an_odd_port_is_more_than_an_accounts_fault(fields: dict[str, Any]) -> None:
    with pytest.raises(NoConnection) as error:
        hosts(";".join(f"a{number}.example" for number in range(1 if fields.get("port") else 70_000)), **fields)

    assert isinstance(error.value.outcome, AccountFault)
