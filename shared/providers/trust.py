"""Whom we trust on the wire: the system's certificate authorities, and the operator's own beside them."""

import ssl
import tempfile
from pathlib import Path
from typing import IO


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """For sockets of our own (SMTP): certificates and names are verified."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
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
