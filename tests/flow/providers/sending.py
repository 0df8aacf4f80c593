"""Providers as a customer sets them up for the simulator, and messages to people of each of them."""

from shared.domain.queues import FAN_OUT_QUEUE, PROVIDER_KINDS
from shared.domain.status import Channel
from shared.queue.rings import Ringer
from tests.flow.conftest import Installation

VARIABLES = {
    "TIDINGS_RETRY_BASE_SECONDS": "0.2",
    "TIDINGS_STALE_DUE_SECONDS": "0.5",
    "TIDINGS_FOLD_INTERVAL_SECONDS": "0.2",
}

_SENDERS: dict[Channel, dict[str, object]] = {
    Channel.EMAIL: {"fromEmail": "news@example.com", "fromName": "News"},
    Channel.SMS: {"from": "+12065550100"},
    Channel.PUSH: {},
}

_UNDELIVERED = {Channel.EMAIL: "bounced_%s@example.com", Channel.SMS: "+1%s5550197"}
"""Addresses that the simulator accepts and then calls undelivered."""


def set_up(installation: Installation, kind: str) -> None:
    """A provider with the credentials that its simulator takes."""
    said = installation.simulator
    credentials: dict[str, object] = {
        "fcm": {"serviceAccountJSON": said["fcm_service_account"]},
        "smtp": {"host": "mail.example.com", "port": 587, "autoTLS": True},
        **said["credentials"],
    }[kind]
    body = {"providerId": kind, "name": kind, "enabled": True, **_SENDERS[PROVIDER_KINDS[kind]], **credentials}
    made = installation.call("POST", f"/messaging/providers/{kind}", body)
    assert made.ok, made.text
    assert made.json()["enabled"], made.json()


def send_to(installation: Installation, kind: str, count: int, *, undelivered: int = 0) -> int:
    """A message to so many people of this provider's own, and to some whose address turns out to be bad; its run."""
    factory, channel = installation.factory, PROVIDER_KINDS[kind]
    people, topic = f"{kind}_", factory.topic(kind)
    factory.audience(count + undelivered, channel=channel, prefix=people)
    factory.subscribe(topic, prefix=people)
    if kind == "apns":
        factory.use_apple_devices(people)
    with factory.connect() as connection:
        connection.execute(
            "UPDATE targets SET provider_id = %s WHERE project_seq = %s AND id LIKE %s",
            [kind, factory.project_seq, f"{kind}\\_-%"],
        )
        for number in range(undelivered):
            # an area code of this provider's own for each
            part = f"{sorted(PROVIDER_KINDS).index(kind) + 20}{number}" if channel is Channel.SMS else f"{kind}{number}"
            connection.execute(
                "UPDATE targets SET identifier = %s WHERE project_seq = %s AND id = %s",
                [_UNDELIVERED[channel] % part, factory.project_seq, f"{kind}_-{count + number + 1}"],
            )
    run = factory.message(f"to-{kind}", channel=channel, topics=[kind])
    ringer = Ringer(installation.system.settings)
    ringer.start()
    ringer.ring(FAN_OUT_QUEUE)
    ringer.stop()
    return run
