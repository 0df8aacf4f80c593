"""Certificates for the scripted servers, made once; and how long their clients wait."""

from collections.abc import Iterator

import pytest

from tests.contract.certificates import Certificates, make_certificates
from tests.contract.patience import hurried


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def _patience(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("hurried") is None:
        yield
        return
    with hurried():
        yield
