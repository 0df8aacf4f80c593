"""Appwrite's own SDKs, unmodified, each in its own environment, up to what the simulator got."""

import pytest

from tests.sdk.sdk import Sdk
from tests.sdk.stops import accounts, audience, deliveries, documents, messages, page, providers, storage
from tests.sdk.tour import Tour

SERVER_SDKS = [
    "python-9.0.3",
    "python-20.1.0",  # insists on every field of every model; newer ones fill in what is missing
    "python-27.0.0",
    "node-27.1.0",
    pytest.param("node-14.2.0", marks=pytest.mark.slow),
]

NOT_OURS = {"messaging.createappwriteprovider", "messaging.updateappwriteprovider"}
"""Appwrite's own push service."""


def left_out(sdk: Sdk) -> dict[str, list[str]]:
    """What an SDK has for messaging, targets of users and push targets of one's own account, and nobody used."""
    unused = {**sdk.left_out("messaging"), **sdk.left_out("users", "target"), **sdk.left_out("account", "pushtarget")}
    return {method: parameters for method, parameters in unused.items() if method not in NOT_OURS}


@pytest.mark.parametrize("tour", SERVER_SDKS, indirect=True)
def test_every_messaging_call_of_a_server_sdk(tour: Tour) -> None:
    for stop in (providers, audience, messages, accounts, storage, documents, deliveries):
        stop.visit(tour)
    assert left_out(tour.sdk) == {}


@pytest.mark.parametrize("tour", ["web-27.0.0"], indirect=True)
def test_the_client_calls_of_the_web_sdk(tour: Tour) -> None:
    page.visit(tour)
    assert left_out(tour.sdk) == {}
