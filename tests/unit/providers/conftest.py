"""Certificates for the servers that the transports and SMTP talk to, and a server that answers with HTTP/2."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.certificates import Certificates, make_certificates
from tests.contract.http2_server import Answer, Http2Server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def server(certificates: Certificates) -> AsyncIterator[Http2Server]:
    async with Http2Server(lambda _: Answer(), certificates.server_context("h2")) as server:
        yield server
