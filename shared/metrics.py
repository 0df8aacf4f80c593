"""Every number Prometheus may read, in one place; labels name kinds and outcomes, never messages or addresses."""

import time
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.samples import Sample

KNOWN_FOR_SECONDS = 30.0
"""Many times a sweep's interval: after so long without a look at the queues, nothing is known of them."""


class PassingGauge(Gauge):
    """A gauge whose values pass away unless they are renewed.

    Of two schedulers one does the sweeps; the other, or one without its database, would for ever show what it saw last.
    """

    _set_at = float("-inf")  # monotonic

    def set(self, value: float) -> None:
        super().set(value)
        self._set_at = time.monotonic()

    def _child_samples(self) -> Iterable[Sample]:
        return super()._child_samples() if time.monotonic() - self._set_at < KNOWN_FOR_SECONDS else ()


_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CLAIM_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)

MESSAGES_ACCEPTED = Counter("tidings_messages_accepted_total", "Messages accepted by the API", ["channel", "status"])
API_SECONDS = Histogram(
    "tidings_api_request_seconds",
    "Time to answer a request",
    ["method", "route", "status"],
    buckets=_CALL_BUCKETS,
)
REQUESTS_OVERDUE = Counter(
    "tidings_api_requests_overdue_total", "Requests given up because their work took too long", ["route"]
)
CONNECTIONS_OPEN = Gauge("tidings_api_connections", "Open connections to the API")
CONNECTIONS_CUT = Counter(
    "tidings_api_connections_cut_total",
    "Connections that the API ended: head, body, answer: the client was too slow; crowded: to make room; refused",
    ["why"],
)
FORWARDED_UNTRUSTED = Counter(
    "tidings_api_forwarded_untrusted_total",
    "Requests with X-Forwarded-For or -Proto from an address that TIDINGS_TRUSTED_PROXIES does not name",
)
RECIPIENTS_PLANNED = Counter("tidings_recipients_planned_total", "Recipients put into batches", ["channel", "lane"])
ATTEMPTS = Counter("tidings_attempts_total", "Provider calls by outcome", ["kind", "outcome"])
DELIVERIES = Counter("tidings_deliveries_total", "Recipients with a final state", ["kind", "state"])
RECEIPTS = Counter("tidings_receipts_total", "Receipts by what they say, or refused", ["kind", "receipt"])
CLAIM_SECONDS = Histogram("tidings_claim_seconds", "Time of one claim in Postgres", ["found"], buckets=_CLAIM_BUCKETS)
PROVIDER_SECONDS = Histogram(
    "tidings_provider_call_seconds", "Time from request to outcome, sampled", ["kind"], buckets=_CALL_BUCKETS
)
IN_FLIGHT = Gauge(
    "tidings_recipients_in_flight",
    "Recipients marked and not yet recorded",
    ["kind"],
    multiprocess_mode="livesum",
)
ACCOUNTS_AT_REST = Gauge(
    "tidings_accounts_at_rest",
    "Accounts of a worker process that failed and are probed by one recipient at a time",
    ["kind"],
    multiprocess_mode="livesum",
)
LOOP_LATE_SECONDS = Gauge(
    "tidings_loop_late_seconds",
    "How long a worker process's event loop has stood still; of several, the longest",
    multiprocess_mode="livemax",
)
LEASES_EXPIRED = Counter("tidings_leases_expired_total", "Claims returned by the sweep because their lease ran out")
RECIPIENTS_UNKNOWN = Counter("tidings_recipients_unknown_total", "Outcomes that stayed unclear", ["kind", "decision"])
STALE_WRITES = Counter("tidings_stale_writes_total", "Writes refused because a newer token holds the batch")
RINGS = Counter("tidings_rings_total", "Rings by result", ["result"])  # published, coalesced, skipped, failed
RINGER_SILENT_SECONDS = Gauge(
    "tidings_ringer_silent_seconds",
    "Seconds since the ringer last came back from the broker; 0 while it has nothing to say",
    multiprocess_mode="livemax",
)
OLDEST_DUE_SECONDS = PassingGauge(
    "tidings_oldest_due_seconds", "Age of the oldest due batch", ["queue"], multiprocess_mode="mostrecent"
)
DUE_BATCHES = PassingGauge(
    "tidings_due_batches",
    "Claimable batches, counted up to 10,000",
    ["queue"],
    multiprocess_mode="mostrecent",
)
TICK_SECONDS = Histogram("tidings_tick_seconds", "Time of one scheduler tick", ["tick"], buckets=_CALL_BUCKETS)
RELEASE_LATENESS_SECONDS = Histogram(
    "tidings_release_lateness_seconds",
    "How late scheduled messages were released",
    buckets=(0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0, 300.0),
)
