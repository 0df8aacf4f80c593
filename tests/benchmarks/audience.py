"""Large audiences, loaded by SQL: creating a million targets over the API would measure something else."""

from dataclasses import dataclass

import psycopg

from shared.domain.status import Channel

# `token` has the length of a real FCM token; hexadecimal, so it never holds the word that sinks refuse
_IDENTIFIERS = {
    Channel.PUSH: "'d' || number || ':APA91b' || repeat(md5(number::text), 4)",
    Channel.EMAIL: "'person' || number || '@tidings.example'",
}

_USERS = """
INSERT INTO users (project_seq, id, name)
SELECT %(project)s, 'user-' || number, 'Person ' || number
FROM generate_series(%(first)s::int, %(last)s::int) AS number
ON CONFLICT (project_seq, id) DO NOTHING
"""

_TARGETS = """
INSERT INTO targets (project_seq, id, user_seq, channel, identifier)
SELECT %(project)s, %(channel)s || '-' || number, users.seq, %(channel)s, {identifier}
FROM generate_series(%(first)s::int, %(last)s::int) AS number
JOIN users ON users.project_seq = %(project)s AND users.id = 'user-' || number
ORDER BY number
"""

_TOPIC = "INSERT INTO topics (project_seq, id, name, {channel}_total) VALUES (%(project)s, %(id)s, %(id)s, %(total)s)"

_SUBSCRIBERS = """
INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel)
SELECT %(project)s, %(id)s || '-' || members.seq, topics.seq, members.seq, %(channel)s
FROM topics, (
    SELECT seq FROM targets WHERE project_seq = %(project)s AND channel = %(channel)s ORDER BY seq LIMIT %(total)s
) AS members
WHERE topics.project_seq = %(project)s AND topics.id = %(id)s
"""


@dataclass(slots=True)
class Audience:
    """The people of one project, each with a push token or an address, and topics of any size."""

    database_url: str
    project_seq: int
    _loaded: dict[Channel, int]

    def __init__(self, database_url: str, project_seq: int) -> None:
        self.database_url = database_url
        self.project_seq = project_seq
        self._loaded = dict.fromkeys(_IDENTIFIERS, 0)

    def topic_of(self, channel: Channel, total: int) -> str:
        """The id of a topic with the first `total` targets of this channel, which are loaded where they are missing."""
        self.load(channel, total)
        topic = f"{channel}-first-{total}"
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            known = connection.execute("SELECT FROM topics WHERE id = %s", [topic]).rowcount
            if not known:
                self._create_topic(connection, topic, channel, total)
        return topic

    def load(self, channel: Channel, total: int) -> None:
        """Have at least `total` targets of this channel."""
        first = self._loaded[channel] + 1
        if total < first:
            return
        parameters = {"project": self.project_seq, "channel": channel, "first": first, "last": total}
        targets = _TARGETS.format(identifier=_IDENTIFIERS[channel])
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(_USERS, parameters)
            connection.execute(targets.encode(), parameters)
            connection.execute("VACUUM ANALYZE users, targets")
        self._loaded[channel] = total

    def _create_topic(
        self, connection: "psycopg.Connection[tuple[object, ...]]", topic: str, channel: Channel, total: int
    ) -> None:
        parameters = {"project": self.project_seq, "id": topic, "channel": channel, "total": total}
        connection.execute(_TOPIC.format(channel=channel).encode(), parameters)
        connection.execute(_SUBSCRIBERS, parameters)
        connection.execute("VACUUM ANALYZE subscribers")
