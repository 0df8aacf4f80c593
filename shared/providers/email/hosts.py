"""Which servers an SMTP account names, how each is secured, and which addresses we may connect to."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from shared.domain.outcome import AccountFault, Retry
from shared.providers.contract import Account
from shared.providers.lookup import Lookups

DEFAULT_PORT: Final = 587

MOST_HOSTS: Final = 10  # of an account
MOST_ADDRESSES: Final = 4  # of a host that are tried

PORTS: Final = frozenset({25, 80, 443, 465, 587, 588, 2465, 2525, 2587, 8025, 8465})
"""Where mail services take mail: those that SendGrid, Mailgun, SES, Postmark, Mailjet, SMTP2GO and Brevo name, 2026-11.
On others a customer could learn which ports of the Internet's hosts are open.
"""

ENTRY: Final = re.compile(
    r"(?:(?P<prefix>ssl|tls)://)?(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]@]+)(?::(?P<port>\d{1,5}))?", re.IGNORECASE
)

NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All of IPv6 that the Internet has. Beside it Python calls more global: site-local addresses, those of a translator in
the local network (RFC 8215), IPv4 ones in forms that nobody should use.
"""


class Security(StrEnum):
    NONE = "none"
    WHERE_OFFERED = "where offered"  # STARTTLS if the server has it; a failed upgrade fails the host
    STARTTLS = "starttls"  # required
    IMPLICIT = "implicit"  # TLS from the first byte


class NoConnection(Exception):
    """No server of the account can be used; `outcome` is what that means for its recipients."""

    def __init__(self, outcome: AccountFault | Retry) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class SmtpHost:
    name: str  # without brackets; also the name its certificate must bear
    port: int
    security: Security
    is_trusted: bool = False  # the operator's own choice: may be a private address


def hosts_of(account: Account) -> tuple[SmtpHost, ...]:
    """The account's list, in its order: `smtp1.example.com:587;ssl://[2001:db8::1]:465`.

    An entry without a prefix takes the account's encryption, one without a port its port (an `ssl://` entry as well).
    Raises NoConnection where the list says nothing we can use.
    """
    credentials, options = account.credentials, account.options
    entries = [entry.strip() for entry in str(credentials.get("host") or "").split(";") if entry.strip()]
    if not entries:
        raise NoConnection(AccountFault("the provider names no host"))
    if len(entries) > MOST_HOSTS:
        raise NoConnection(AccountFault(f"the provider names {len(entries)} hosts; {MOST_HOSTS} are tried at most"))
    return tuple(_host(entry, _default_port(credentials), options) for entry in entries)


def _default_port(credentials: Mapping[str, Any]) -> int:
    try:
        return int(credentials.get("port") or DEFAULT_PORT)
    except (TypeError, ValueError):
        raise NoConnection(AccountFault("the provider's port is not a number")) from None


def overriding_host(endpoint: str) -> SmtpHost:
    """`host:port` that takes the place of every account's servers; upgraded where it offers STARTTLS."""
    where = urlsplit(endpoint if "://" in endpoint else f"smtp://{endpoint}")
    if not where.hostname:
        raise NoConnection(AccountFault("TIDINGS_ENDPOINT_SMTP names no host"))
    return SmtpHost(where.hostname, where.port or DEFAULT_PORT, Security.WHERE_OFFERED, is_trusted=True)


def _host(entry: str, default_port: int, options: Mapping[str, Any]) -> SmtpHost:
    match = ENTRY.fullmatch(entry)
    port = int(match["port"] or default_port) if match else 0
    if match is None or not 0 < port < 65536:
        raise NoConnection(AccountFault("the provider's host is not a list of [ssl://|tls://]host[:port]"))
    name = match["name"].strip("[]").lower()
    return SmtpHost(name, port, _security(name, (match["prefix"] or "").lower(), options))


def _security(name: str, prefix: str, options: Mapping[str, Any]) -> Security:
    wanted = prefix or options.get("encryption") or "none"
    if wanted == "ssl":
        return Security.IMPLICIT
    if wanted == "tls":
        return Security.STARTTLS
    is_upgraded = options.get("autoTLS", True) and name != "localhost"
    return Security.WHERE_OFFERED if is_upgraded else Security.NONE


class AllowedHosts:
    """Where one account's mail may go: to public hosts at the ports of mail, and wherever the operator's list of names,
    addresses and networks allows.
    """

    def __init__(self, listed: str) -> None:
        """`listed`: "relay.internal, 10.2.0.0/16", empty for none."""
        self._lookups = Lookups()
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for item in filter(None, (item.strip() for item in listed.split(","))):
            try:
                self._networks.append(ipaddress.ip_network(item))
            except ValueError:
                self._names.add(item.lower())

    async def resolve(self, host: SmtpHost) -> list[str]:
        """Addresses of the host that we may connect to. Raises NoConnection.

        The caller connects to these very addresses: a name looked up once more might answer differently.
        """
        try:
            found = await self._lookups.find(host.name, host.port)
        except OSError as error:
            raise NoConnection(Retry(f"{host.name} cannot be looked up: {error}", scope="provider")) from error
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses:
            raise NoConnection(Retry(f"{host.name} has no address", scope="provider"))
        if not host.is_trusted and host.name not in self._names:
            addresses = self._permitted(host, addresses)
        return addresses[:MOST_ADDRESSES]

    def _permitted(self, host: SmtpHost, addresses: Sequence[str]) -> list[str]:
        places = [(address, ipaddress.ip_address(address.partition("%")[0])) for address in addresses]
        listed = [address for address, ip in places if any(ip in network for network in self._networks)]
        public = [address for address, ip in places if is_public(ip)]
        if host.port in PORTS:
            allowed = {*listed, *public}
            permitted = [address for address in addresses if address in allowed]
            why_none = f"{host.name} is inside a private network"
        else:
            permitted = listed
            why_none = f"port {host.port} of {host.name} is none where mail services listen" if public else ""
            why_none = why_none or f"{host.name} is inside a private network"
        if not permitted:
            hint = "the operator can allow it with TIDINGS_SMTP_ALLOWED_HOSTS"
            raise NoConnection(AccountFault(f"{why_none}, where customers' mail may not go; {hint}"))
        return permitted


def is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Reachable over the Internet, also after unwrapping an IPv4 address carried in an IPv6 one."""
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(embedded)
        if ip not in UNICAST:
            return False
    return ip.is_global and not ip.is_multicast
