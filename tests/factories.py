"""Rows for tests, made by SQL: quick, many at a time, and independent of the code under test."""

import hashlib
import json
import secrets
from dataclasses import dataclass, field

import psycopg

from shared.db.queries.providers import credentials_context
from shared.db.secrets import open_secret_box
from shared.domain.queues import PROVIDER_KINDS
from shared.settings import Settings

ALL_SCOPES = [
    f"{area}.{access}"
    for area in (
        "messages",
        "providers",
        "topics",
        "subscribers",
        "targets",
        "users",
        "health",
        "buckets",
        "files",
        "databases",
        "collections",
        "documents",
    )
    for access in ("read", "write")
]


@dataclass(slots=True)
class Factory:
    """Writes into one project of one database."""

    settings: Settings
    project_id: str = "acme"
    key: str = field(default_factory=lambda: f"standard_{secrets.token_hex(16)}")
    project_seq: int = 0

    def __post_init__(self) -> None:
        with self.connect() as connection:
            self.project_seq = _value(
                connection,
                "INSERT INTO projects (id, name) VALUES (%s, %s) RETURNING seq",
                [self.project_id, self.project_id.title()],
            )
            connection.execute(
                "INSERT INTO api_keys (project_seq, id, name, secret_hash, scopes) VALUES (%s, 'key', 'Test', %s, %s)",
                [self.project_seq, hashlib.sha256(self.key.encode()).digest(), ALL_SCOPES],
            )

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.settings.require_database_url(), autocommit=True)

    def provider(
        self,
        kind: str,
        provider_id: str,
        *,
        credentials: dict[str, object],
        options: dict[str, object] | None = None,
        enabled: bool = True,
    ) -> int:
        """A configured provider; its seq."""
        channel = PROVIDER_KINDS[kind].value
        encrypted = open_secret_box(self.settings).encrypt(
            json.dumps(credentials), context=credentials_context(self.project_seq, provider_id)
        )
        with self.connect() as connection:
            return _value(
                connection,
                "INSERT INTO providers (project_seq, id, name, kind, channel, enabled, credentials_encrypted, options)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING seq",
                [
                    self.project_seq,
                    provider_id,
                    provider_id,
                    kind,
                    channel,
                    enabled,
                    encrypted,
                    json.dumps(options or {}),
                ],
            )

    def topic(self, topic_id: str) -> int:
        with self.connect() as connection:
            return _value(
                connection,
                "INSERT INTO topics (project_seq, id, name) VALUES (%s, %s, %s) RETURNING seq",
                [self.project_seq, topic_id, topic_id],
            )

    def audience(self, count: int, *, channel: str, prefix: str = "person") -> None:
        """`count` users PREFIX-1 ... with one target each, of the same id; identifiers end in the same number."""
        identifier = {
            "email": f"{prefix}%s@example.com",
            "push": f"token-{prefix}-%s",
            "sms": f"+49151{hashlib.sha256(prefix.encode()).digest()[0] % 90 + 10}1%s",  # other people, other numbers
        }[channel]
        with self.connect() as connection:
            connection.execute(
                "INSERT INTO users (project_seq, id, name)"
                " SELECT %(project)s, %(prefix)s || '-' || n, '' FROM generate_series(1, %(count)s) AS n",
                {"project": self.project_seq, "prefix": prefix, "count": count},
            )
            connection.execute(
                "INSERT INTO targets (project_seq, id, user_seq, channel, identifier)"
                " SELECT %(project)s, users.id, users.seq, %(channel)s, format(%(identifier)s, n)"
                " FROM generate_series(1, %(count)s) AS n"
                " JOIN users ON users.project_seq = %(project)s AND users.id = %(prefix)s || '-' || n ORDER BY n",
                {
                    "project": self.project_seq,
                    "prefix": prefix,
                    "count": count,
                    "channel": channel,
                    "identifier": identifier,
                },
            )

    def use_apple_devices(self, prefix: str) -> None:
        """Give the targets PREFIX-1 ... addresses as APNs has them: 64 hexadecimal digits."""
        with self.connect() as connection:
            connection.execute(
                "UPDATE targets SET identifier = encode(sha256(convert_to(identifier, 'UTF8')), 'hex')"
                " WHERE project_seq = %s AND starts_with(id, %s || '-')",
                [self.project_seq, prefix],
            )

    def subscribe(self, topic_seq: int, *, prefix: str = "person", first: int = 1, last: int = 10**9) -> None:
        """Put the targets PREFIX-first to PREFIX-last into a topic."""
        with self.connect() as connection:
            connection.execute(
                "INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel)"
                " SELECT project_seq, 's' || %(topic)s || '-' || seq, %(topic)s, seq, channel FROM targets"
                " WHERE project_seq = %(project)s AND id LIKE %(prefix)s || '-%%'"
                " AND split_part(id, '-', 2)::int BETWEEN %(first)s AND %(last)s",
                {
                    "topic": topic_seq,
                    "project": self.project_seq,
                    "prefix": prefix,
                    "first": first,
                    "last": last,
                },
            )

    def message(
        self,
        message_id: str,
        *,
        channel: str,
        topics: list[str] | None = None,
        targets: list[str] | None = None,
        users: list[str] | None = None,
        data: dict[str, object] | None = None,
        lane: str = "bulk",
    ) -> int:
        """A message just accepted (`processing`, due for fan-out); its run."""
        with self.connect() as connection:
            return _value(
                connection,
                "WITH message AS ("
                " INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, run,"
                " expires_at) VALUES (%s, %s, %s, 'processing', %s, %s, %s, %s, %s, tidings_draw_run(),"
                " now() + interval '1 day') RETURNING run, project_seq, seq, lane"
                "), progress AS ("
                " INSERT INTO message_progress (run, project_seq, message_seq)"
                " SELECT run, project_seq, seq FROM message"
                ") INSERT INTO fan_outs (run, project_seq, message_seq, is_bulk)"
                " SELECT run, project_seq, seq, lane = 'bulk' FROM message RETURNING run",
                [
                    self.project_seq,
                    message_id,
                    channel,
                    lane,
                    json.dumps(data if data is not None else _CONTENT[channel]),
                    topics or [],
                    users or [],
                    targets or [],
                ],
            )


_CONTENT: dict[str, dict[str, object]] = {
    "email": {"subject": "Hello", "content": "Hello there.", "html": False, "cc": [], "bcc": [], "attachments": []},
    "sms": {"content": "Hello there."},
    "push": {"title": "Hello", "body": "Hello there.", "priority": "high"},
}


def _value(connection: "psycopg.Connection[tuple[object, ...]]", statement: str, parameters: list[object]) -> int:
    row = connection.execute(statement.encode(), parameters).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]
