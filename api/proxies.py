"""Whose word is taken for where a request comes from: X-Forwarded-For and -Proto, of trusted proxies alone.

Anybody may send these headers. Each proxy appends the address it was called from, so what the nearest one wrote stands
last and is true as far as that proxy is trusted; the walk ends at the first address that is no trusted proxy's. What
stands before it is the client's own invention.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.metrics import FORWARDED_UNTRUSTED
from shared.settings import Network

MAX_PROXIES: Final = 32
"""Between a client and us; a header may have a hundred thousand addresses."""

_FOR, _PROTO = b"x-forwarded-for", b"x-forwarded-proto"

log = structlog.get_logger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """ASGI middleware: puts the client and the scheme that trusted proxies tell of in place of the proxy's own."""

    def __init__(self, app: ASGIApp, networks: Sequence[Network]) -> None:
        self._app = app
        self._networks = networks
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = self._read(scope)
        await self._app(scope, receive, send)

    def _read(self, scope: Scope) -> Scope:
        forwarded = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name in (_FOR, _PROTO)]
        if not forwarded:
            return scope
        peer = _read_address(scope["client"][0]) if scope["client"] else None
        if peer is None or not self._trusts(peer):
            self._note_untrusted(peer)
            return scope
        hops = [value for name, value in forwarded if name == _FOR]
        client = self._find_client(peer, hops)
        told = {"scheme": _read_scheme([value for name, value in forwarded if name == _PROTO]) or scope["scheme"]}
        # no port is told of; whoever is not behind another address keeps the whole of its own
        return {**scope, **told, "client": scope["client"] if client == peer else (str(client), 0)}

    def _find_client(self, peer: Address, headers: Sequence[str]) -> Address:
        """The first from our side that is no trusted proxy; where none can be read any more, the last that could."""
        found = peer
        for count, text in enumerate(_from_the_right(headers)):
            address = _read_address(text)
            if address is None or count == MAX_PROXIES:
                break
            found = address
            if not self._trusts(found):
                break
        return found

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _note_untrusted(self, peer: Address | None) -> None:
        FORWARDED_UNTRUSTED.inc()
        if not self._has_warned:
            self._has_warned = True
            # of a stranger no address is logged; a proxy nearly always has a private one
            shown = str(peer) if peer is not None and peer.is_private else "a public address"
            log.warning("proxies.untrusted", peer=shown, hint="if it is your proxy, set TIDINGS_TRUSTED_PROXIES")


def _from_the_right(headers: Sequence[str]) -> Iterator[str]:
    """The entries of all lines of a header, the last first, no more of them cut off than are asked for."""
    for header in reversed(headers):
        rest = header
        while rest:
            rest, _, entry = rest.rpartition(",")
            yield entry.strip()


def _read_address(text: str) -> Address | None:
    """Of an entry as proxies write it, with or without a port. IPv4 in IPv6's clothes is IPv4."""
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    else:
        host = text
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _read_scheme(headers: Sequence[str]) -> str | None:
    """What the nearest proxy says, in the last place."""
    scheme = next(_from_the_right(headers), "").lower()
    return scheme if scheme in ("http", "https") else None
