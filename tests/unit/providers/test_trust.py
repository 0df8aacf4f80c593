"""What a server may make us work for before it is known to be of any use."""

import os
import ssl
from pathlib import Path

import pytest

from shared.providers.trust import tls_context
from tests.contract.certificates import make_certificates


@pytest.fixture
def context() -> ssl.SSLContext:
    return tls_context(None)


def test_no_server_names_the_group_that_keys_are_exchanged_in(context: ssl.SSLContext) -> None:
    """Of 10,000 bits it would take a second of an event loop."""
    exchanges = {cipher["kea"] for cipher in context.get_ciphers()}
    assert "kx-ecdhe" in exchanges
    assert "kx-dhe" not in exchanges


def test_no_server_has_the_handshake_again(context: ssl.SSLContext) -> None:
    assert ssl.OP_NO_RENEGOTIATION in context.options


def test_accounts_share_what_was_read_of_the_authorities(tmp_path: Path) -> None:
    """Until the operator's file changes."""
    ca_file = make_certificates(tmp_path).ca_file
    first = tls_context(ca_file)
    assert tls_context(ca_file) is first
    assert tls_context(ca_file, "h2") is not first
    os.utime(ca_file, ns=(1, 1))
    assert tls_context(ca_file) is not first
