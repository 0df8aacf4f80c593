"""Tidings as a subject: one message to a topic, timed from the API call to the last row of the ledger."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import psycopg
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.domain.status import Channel
from tests.benchmarks.accounting import cpu_seconds
from tests.benchmarks.figures import WrongResult
from tests.benchmarks.installation import Installation, RunningRoles
from tests.benchmarks.peers.content import BODY, SENDER, SUBJECT
from tests.benchmarks.sinks import Sinks
from tests.benchmarks.subject import CONNECTIONS_TOTAL, Delivered

PATIENCE_SECONDS = 600.0
POLL_SECONDS = 0.02

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
        installation = self.roles.installation
        topic = installation.audience.topic_of(channel, total)
        pids = installation.servers.pids | self.roles.pids
        seen_before, burnt_before = self.sinks.accepted_total(channel), cpu_seconds(pids)
        started_at = time.monotonic()
        message = self.roles.call(f"messages/{channel}", _message(channel, topic))
        self._await_end(str(message["$id"]), total)
        seconds = time.monotonic() - started_at
        burnt = cpu_seconds(pids) - burnt_before
        seen = self.sinks.accepted_total(channel) - seen_before
        if seen != total:
            raise WrongResult(f"Tidings says {total} sent, the {channel} sink took {seen}")
        return Delivered(total, seconds, burnt)

    def _await_end(self, message_id: str, total: int) -> None:
        """The message's sums are written with the last ledger rows: its end is seen within POLL_SECONDS of them."""
        database_url = self.roles.installation.audience.database_url
        deadline = time.monotonic() + PATIENCE_SECONDS
        row = None
        with psycopg.connect(database_url, autocommit=True) as connection:
            while row is None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                self.roles.check_alive()
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
    roles.call(
        "providers/fcm",
        {
            "providerId": "unique()",
            "name": "FCM",
            "enabled": True,
            "serviceAccountJSON": {
                "type": "service_account",
                "project_id": "bench",
                "private_key_id": "1",
                "private_key": _private_key(),
                "client_email": "bench@bench.iam.gserviceaccount.com",
                "token_uri": f"{sinks.fcm_url}/token",
            },
        },
    )
    roles.call(
        "providers/smtp",
        {
            "providerId": "unique()",
            "name": "SMTP",
            "enabled": True,
            "host": "127.0.0.1",
            "port": sinks.smtp_port,
            "encryption": "none",
            "autoTLS": False,
            "fromEmail": SENDER,
        },
    )


def _message(channel: Channel, topic: str) -> dict[str, object]:
    if channel is Channel.PUSH:
        content: dict[str, object] = {"title": SUBJECT, "body": BODY}
    else:
        content = {"subject": SUBJECT, "content": BODY}
    return {"messageId": "unique()", "topics": [topic], **content}


@lru_cache(maxsize=1)
def _private_key() -> str:
    key = generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
