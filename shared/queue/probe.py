"""One look at the broker: whether it answers, what it is, and whether it may drop what it holds."""

from dataclasses import dataclass

from kombu import Connection
from kombu.exceptions import OperationalError

from shared.errors import NotReachable
from shared.queue.transports import TIMEOUT_SECONDS, tls_options, transport_options
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    kind: str  # "redis" or "amqp"
    version: str  # empty where the broker does not say
    eviction_policy: str | None  # Redis only


def probe_broker(settings: Settings) -> BrokerFacts:
    """Raises NotReachable with the broker's own reason."""
    url = settings.require_broker_url()
    with Connection(url, ssl=tls_options(url), transport_options=transport_options(url)) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT_SECONDS)
            return _facts(connection)
        except (OperationalError, *connection.connection_errors, *connection.channel_errors) as error:
            # among the latter: a login or a command that is refused
            raise NotReachable(
                f"The broker at {connection.hostname}:{connection.port} cannot be used: {error}",
                hint="Check TIDINGS_BROKER_URL and that the server is running.",
            ) from error


def _facts(connection: Connection) -> BrokerFacts:
    kind: str = connection.transport.driver_type
    if kind != "redis":
        return BrokerFacts(kind, str(connection.connection.server_properties.get("version", "")), None)
    facts = connection.default_channel.client.info()
    return BrokerFacts(kind, facts["redis_version"], facts["maxmemory_policy"])
