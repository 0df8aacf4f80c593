"""Tidings as a subject: one message to a topic, timed from the API call to the last row of the ledger."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from shared.domain.status import Channel
from tests.benchmarks import accounts
from tests.benchmarks.accounting import cpu_seconds
from tests.benchmarks.addresses import MAIL_ADDRESS, REGISTRATION_TOKEN, AddressForm
from tests.benchmarks.figures import WrongResult
from tests.benchmarks.installation import Installation, RunningRoles
from tests.benchmarks.peers.content import content_of
from tests.benchmarks.sinks import Sinks
from tests.benchmarks.subject import CONNECTIONS_TOTAL, Delivered

PATIENCE_SECONDS = 600.0
POLL_SECONDS = 0.02

_FORMS = {form.channel: form for form in (REGISTRATION_TOKEN, MAIL_ADDRESS)}

_PROGRESS = """
SELECT messages.status, planned, sent, unknown, resends
FROM messages JOIN message_progress USING (run)
WHERE messages.id = %s AND finished_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Tidings:
    """The running roles, with one provider per channel."""

    roles: RunningRoles
    sinks: Sinks
    least_total: int
    name: str = "Tidings"

    def deliver(self, channel: Channel, total: int) -> Delivered:
        form = _FORMS[channel]
        return deliver_message(self.roles, form, total, accepted_total=lambda: self.sinks.accepted_total(channel))


def deliver_message(
    roles: RunningRoles, form: AddressForm, total: int, *, accepted_total: Callable[[], int]
) -> Delivered:
    """`accepted_total`: how many messages the provider's side has taken so far."""
    installation = roles.installation
    topic = installation.audience.topic_of(form, total)
    pids = installation.servers.pids | roles.pids
    seen_before, burnt_before = accepted_total(), cpu_seconds(pids)
    started_at = time.monotonic()
    wish = {"messageId": "unique()", "topics": [topic], **content_of(form.channel)}
    message = roles.call(f"messages/{form.channel}", wish)
    _await_end(roles, str(message["$id"]), total)
    seconds = time.monotonic() - started_at
    burnt = cpu_seconds(pids) - burnt_before
    seen = accepted_total() - seen_before
    if seen != total:
        raise WrongResult(f"Tidings says {total} sent, the {form.channel} sink took {seen}")
    return Delivered(total, seconds, burnt)


def _await_end(roles: RunningRoles, message_id: str, total: int) -> None:
    """The message's sums are written with the last ledger rows: its end is seen within POLL_SECONDS of them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    row = None
    with psycopg.connect(roles.installation.audience.database_url, autocommit=True) as connection:
        while row is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            roles.check_alive()
            row = connection.execute(_PROGRESS, [message_id]).fetchone()
    if row != ("sent", total, total, 0, 0):
        raise WrongResult(f"Tidings ended with (status, planned, sent, unknown, resends) {row} of {total}")


@contextmanager
def running_tidings(
    installation: Installation, sinks: Sinks, *, worker_processes: int, least_total: int
) -> Iterator[Tidings]:
    """API, workers and scheduler until the block ends. They are ready when their first run is over."""
    roles = {"api": (), "workers": ("--concurrency", str(worker_processes)), "scheduler": ()}
    connections = {"TIDINGS_SMTP_CONNECTIONS": str(max(1, CONNECTIONS_TOTAL // worker_processes))}
    with installation.running(roles, sinks, connections) as running:
        _create_providers(running, sinks)
        yield Tidings(running, sinks, least_total)


def _create_providers(roles: RunningRoles, sinks: Sinks) -> None:
    """New ones for these sinks; the earlier ones of this installation are left without targets by being disabled."""
    with psycopg.connect(roles.installation.audience.database_url, autocommit=True) as connection:
        connection.execute("UPDATE providers SET enabled = false, version = version + 1")
    create_provider(roles, "fcm", accounts.fcm(sinks.fcm_url))
    create_provider(roles, "smtp", accounts.smtp(sinks.smtp_port))


def create_provider(roles: RunningRoles, kind: str, account: Mapping[str, object]) -> None:
    wish = {"providerId": "unique()", "name": kind, "enabled": True, **account}
    if not roles.call(f"providers/{kind}", wish)["enabled"]:
        raise WrongResult(f"the account at {kind} lacks something")
