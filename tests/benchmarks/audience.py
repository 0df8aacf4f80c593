"""Large audiences, loaded by SQL: creating a million targets over the API would measure something else."""

from collections import Counter
from dataclasses import dataclass, field

import psycopg

from tests.benchmarks.addresses import AddressForm

_USERS = """
INSERT INTO users (project_seq, id, name)
SELECT %(project)s, 'user-' || number, 'Person ' || number
FROM generate_series(%(first)s::int, %(last)s::int) AS number
ON CONFLICT (project_seq, id) DO NOTHING
"""

_TARGETS = """
INSERT INTO targets (project_seq, id, user_seq, channel, identifier)
SELECT %(project)s, %(form)s || '-' || number, users.seq, %(channel)s,
    %(prefix)s || lpad(number::text, greatest(%(digits)s, length(number::text)), '0') || %(suffix)s
FROM generate_series(%(first)s::int, %(last)s::int) AS number
JOIN users ON users.project_seq = %(project)s AND users.id = 'user-' || number
ORDER BY number
"""

_TOPIC = "INSERT INTO topics (project_seq, id, name, {channel}_total) VALUES (%(project)s, %(id)s, %(id)s, %(total)s)"

_SUBSCRIBERS = """
INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel)
SELECT %(project)s, %(id)s || '-' || members.seq, topics.seq, members.seq, %(channel)s
FROM topics, (
    SELECT seq FROM targets WHERE project_seq = %(project)s AND starts_with(id, %(form)s || '-')
    ORDER BY seq LIMIT %(total)s
) AS members
WHERE topics.project_seq = %(project)s AND topics.id = %(id)s
"""


@dataclass(slots=True)
class Audience:
    """The people of one project, each with an address of every form, and topics of any size."""

    database_url: str
    project_seq: int
    _loaded: Counter[AddressForm] = field(default_factory=Counter)

    def topic_of(self, form: AddressForm, total: int) -> str:
        """The id of a topic with the first `total` targets of this form, which are loaded where they are missing."""
        self.load(form, total)
        topic = f"{form.name}-first-{total}"
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            known = connection.execute("SELECT FROM topics WHERE id = %s", [topic]).rowcount
            if not known:
                self._create_topic(connection, topic, form, total)
        return topic

    def load(self, form: AddressForm, total: int) -> None:
        """Have at least `total` targets of this form."""
        first = self._loaded[form] + 1
        if total < first:
            return
        parameters = {
            "project": self.project_seq,
            "form": form.name,
            "channel": form.channel,
            "prefix": form.prefix,
            "digits": form.digits,
            "suffix": form.suffix,
            "first": first,
            "last": total,
        }
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(_USERS, parameters)
            connection.execute(_TARGETS, parameters)
            connection.execute("VACUUM ANALYZE users, targets")
        self._loaded[form] = total

    def _create_topic(
        self, connection: "psycopg.Connection[tuple[object, ...]]", topic: str, form: AddressForm, total: int
    ) -> None:
        parameters = {
            "project": self.project_seq,
            "id": topic,
            "form": form.name,
            "channel": form.channel,
            "total": total,
        }
        connection.execute(_TOPIC.format(channel=form.channel).encode(), parameters)
        connection.execute(_SUBSCRIBERS, parameters)
        connection.execute("VACUUM ANALYZE subscribers")
