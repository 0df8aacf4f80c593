"""Kombu's transports with our rules: every wait ends, lost rings are let go, TLS asks who the other is."""

import socket
import ssl
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, pyamqp, redis

TIMEOUT_SECONDS = 5.0
"""The longest wait for a connection, for an answer, and for room to write."""

GOODBYE_SECONDS = 0.5

HEARTBEAT_SECONDS = 5.0
"""RabbitMQ and a consumer each expect to hear from the other that often; after two without a word the line is dead.
RabbitMQ's guide (rabbitmq.com/docs/heartbeats, read 2026-11-30) calls 5 to 20 s right and fewer prone to false alarms.
"""

HEARTBEAT_CHECKS = 3.0
"""Looks in that time: so a dead line is noticed within 2 1/3 of it."""

REDIS_HEALTH_SECONDS = 3.0
"""A consumer waits for Redis in turns of a second. One that is so late, looked at so often, is given up: within 7 s."""

REDIS_OPTIONS: dict[str, object] = {
    "socket_timeout": TIMEOUT_SECONDS,
    "socket_connect_timeout": TIMEOUT_SECONDS,
    "socket_keepalive": True,
    "socket_keepalive_options": {
        getattr(socket, name): value
        # a line with nothing to say is asked after 5 s; milliseconds until bytes that nobody acknowledges end it
        for name, value in {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5_000}.items()
        if hasattr(socket, name)
    },
    "health_check_interval": REDIS_HEALTH_SECONDS,
    # an acknowledgement that fails while Redis is away would keep its place among the prefetched for ever: with
    # all of them taken, kombu 5.7 hears nothing any more. So none is sent: rings are expendable
    "ack_emulation": False,
    "queue_order_strategy": "round_robin",
}
AMQP_OPTIONS: dict[str, object] = {"connect_timeout": TIMEOUT_SECONDS}


def transport_options(url: str) -> dict[str, object]:
    return REDIS_OPTIONS if url.startswith("redis") else AMQP_OPTIONS


def tls_options(url: str) -> dict[str, object] | None:
    """Without them kombu takes any certificate of a `rediss://` server; `?ssl_cert_reqs=none` in the URL still does."""
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED} if url.startswith("rediss:") else None


class AmqpConnection(pyamqp.Connection):  # type: ignore[misc]
    """py-amqp's own `read_timeout` ends only a wait for the first byte of a frame, and none under TLS."""

    def connect(self, callback: Any = None) -> Any:
        connected = super().connect(callback)
        self.transport.sock.settimeout(TIMEOUT_SECONDS)
        return connected

    def collect(self) -> None:
        """TLS says goodbye and waits for the answer."""
        if self._transport is not None and self._transport.sock is not None:
            self._transport.sock.settimeout(GOODBYE_SECONDS)
        super().collect()


class AmqpTransport(pyamqp.Transport):  # type: ignore[misc]
    Connection = AmqpConnection


class AmqpsTransport(pyamqp.SSLTransport):  # type: ignore[misc]
    """The certificate must be the host's own. `?ssl_ca_certs=`, `ssl_certfile=`, `ssl_keyfile=`, `ssl_check_hostname=`
    and `ssl_cert_reqs=` in the URL mean what they mean for `rediss://`; kombu knows them there alone.
    """

    Connection = AmqpConnection

    def __init__(self, client: Any, **options: Any) -> None:
        given = client.ssl if isinstance(client.ssl, dict) else {}
        if "cert_reqs" not in given:  # else an earlier transport of this client was here
            wanted = {name.removeprefix("ssl_"): value for name, value in given.items()}
            if wanted.pop("check_hostname", True):
                wanted["server_hostname"] = None  # kombu takes the URL's
            client.ssl = {"cert_reqs": ssl.CERT_REQUIRED, **wanted}
        super().__init__(client, **options)


class RedisChannel(redis.Channel):  # type: ignore[misc]
    """Kombu's own puts rings that were heard but not served back as it closes; where Redis is away it says so past
    the log and writes them to a file in the temporary directory instead, each time.
    """

    do_restore = False

    def _size(self, queue: str) -> int:
        """Kombu's own asks for four priorities in a transaction, which a Redis that is full refuses."""
        with self.conn_or_acquire() as client:
            return int(client.llen(queue))


class RedisTransport(redis.Transport):  # type: ignore[misc]
    Channel = RedisChannel


# by the URL's scheme, wherever a connection is made: Celery's setting would take one transport for all schemes
TRANSPORT_ALIASES.update(
    {
        "amqp": f"{__name__}:AmqpTransport",
        "amqps": f"{__name__}:AmqpsTransport",
        "redis": f"{__name__}:RedisTransport",
        "rediss": f"{__name__}:RedisTransport",
    }
)
