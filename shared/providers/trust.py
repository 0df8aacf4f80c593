"""Whom we trust on the wire: the system's certificate authorities, and the operator's own beside them."""

import ssl
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import IO, Final

KEPT: Final = 4
"""Contexts: of each kind of transport one, and after a change of the operator's file the one before."""


def tls_context(ca_file: Path | None, *protocols: str) -> ssl.SSLContext:
    """For sockets of our own: certificates and names are verified. `protocols`: for ALPN.

    One for all accounts: reading the system's authorities takes 20 ms, and keeping them 0.9 MB. Raises OSError.
    """
    return _made(ca_file, ca_file.stat().st_mtime_ns if ca_file else 0, protocols)


@lru_cache(KEPT)
def _made(ca_file: Path | None, _changed_at: int, protocols: tuple[str, ...]) -> ssl.SSLContext:
    """A handshake is work on an event loop that others wait for, and the server, which a customer may have chosen, says
    how much: in DHE it names the group, and one of 10,000 bits takes 0.9 s of CPU; by asking for renegotiation it has
    the handshake again and again.
    """
    context = ssl.create_default_context()
    context.set_ciphers(":".join(cipher["name"] for cipher in context.get_ciphers() if cipher["kea"] != "kx-dhe"))
    context.options |= ssl.OP_NO_RENEGOTIATION
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def combined_bundle(ca_file: Path) -> IO[bytes]:
    """The system's authorities and `ca_file` in one PEM file, as libcurl takes one; gone when it is closed.

    A file and not a blob: libcurl copies a blob into each of its handles.
    """
    bundle = tempfile.NamedTemporaryFile(prefix="tidings-", suffix=".pem")  # noqa: SIM115  # closed by the transport
    system = ssl.get_default_verify_paths().cafile
    for path in (system, ca_file):
        if path is not None:
            bundle.write(Path(path).read_bytes() + b"\n")
    bundle.flush()
    return bundle
