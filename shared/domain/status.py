"""The closed sets: channels, lanes, states. Each member says in one line what it means."""

from enum import StrEnum


class Channel(StrEnum):
    EMAIL = "email"
    PUSH = "push"
    SMS = "sms"


class Lane(StrEnum):
    """Separate queues and slots, never broker priorities."""

    CRITICAL = "critical"  # its own worker process; no message can ask for it yet
    TRANSACTIONAL = "transactional"  # a few listed recipients: someone is waiting for it
    BULK = "bulk"  # topics and long lists


class MessageStatus(StrEnum):
    """The wire's five values; SDKs parse them as a closed set."""

    DRAFT = "draft"  # not to be sent until it is told to
    SCHEDULED = "scheduled"  # its time has not come
    PROCESSING = "processing"  # accepted for sending; content is immutable from here on
    SENT = "sent"  # finished, at least one accepted, no error
    FAILED = "failed"  # finished, with an error or with nobody reached


class BatchState(StrEnum):
    """A closed batch has no row: its recipients are in the ledger or in newer batches."""

    DUE = "due"  # may be claimed once due_at has come
    CLAIMED = "claimed"  # a worker holds it under a lease and a token
    PAUSED = "paused"  # its message is paused; not claimable, not in the partial index


class DeliveryState(StrEnum):
    """Final states of a recipient in the ledger. Recipients without a row are in an open batch."""

    SENT = "sent"  # the provider accepted it
    FAILED = "failed"  # refused for good
    SKIPPED = "skipped"  # not tried: target gone, expired or suppressed; no error
    CANCELLED = "cancelled"  # not tried: the message was deleted or cancelled
    EXPIRED = "expired"  # not reached within the message's time to live
    UNKNOWN = "unknown"  # may have been accepted; the provider's rule forbids another try
