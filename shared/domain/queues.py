"""Every queue's name. A queue is a name in the batches table and in the broker; rows, not tasks, hold the work."""

from dataclasses import dataclass

from shared.domain.status import Channel, Lane

FAN_OUT_QUEUE = "fan_out"

PROVIDER_KINDS: dict[str, Channel] = {
    "smtp": Channel.EMAIL,
    "mailgun": Channel.EMAIL,
    "sendgrid": Channel.EMAIL,
    "resend": Channel.EMAIL,
    "ses": Channel.EMAIL,
    "fcm": Channel.PUSH,
    "apns": Channel.PUSH,
    "twilio": Channel.SMS,
    "vonage": Channel.SMS,
    "msg91": Channel.SMS,
    "telesign": Channel.SMS,
    "textmagic": Channel.SMS,
}
"""The contract's provider kinds and the channel of each."""


@dataclass(frozen=True, slots=True)
class DeliveryQueue:
    """Batches of one provider kind in one lane: `email.smtp.bulk`."""

    kind: str
    lane: Lane

    @property
    def name(self) -> str:
        return f"{PROVIDER_KINDS[self.kind]}.{self.kind}.{self.lane}"


def parse_delivery_queue(name: str) -> DeliveryQueue:
    """The queue behind a name as it stands in a batch row."""
    _channel, kind, lane = name.split(".")
    return DeliveryQueue(kind, Lane(lane))


DELIVERY_QUEUES: tuple[DeliveryQueue, ...] = tuple(
    DeliveryQueue(kind, lane) for lane in Lane for kind in PROVIDER_KINDS
)
"""Critical lanes first, bulk last: the order in which free room is given."""
