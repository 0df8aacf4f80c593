"""APNs by aioapns: streams of one connection."""

import ssl
from collections.abc import Sequence
from uuid import uuid4

from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsTLSClientProtocol

from tests.benchmarks.clients.orders import Terms, run_client
from tests.benchmarks.clients.outcomes import SENT, Row
from tests.benchmarks.peers.content import BODY, SUBJECT

PAYLOAD = {"aps": {"alert": {"title": SUBJECT, "body": BODY}}}


class Client:
    group = 1

    def __init__(self, terms: Terms) -> None:
        class Redirected(APNsTLSClientProtocol):
            APNS_SERVER, APNS_PORT = terms.host, terms.port

        self.calls = terms.in_flight
        self._addresses = terms.addresses
        self._apns = APNs(
            key=terms.account["authKey"],
            key_id=terms.account["authKeyId"],
            team_id=terms.account["teamId"],
            topic=terms.account["bundleId"],
            max_connections=1,
            ssl_context=ssl.create_default_context(cafile=terms.ca_file),
        )
        self._apns.pool.protocol_class = Redirected

    async def send(self, recipients: Sequence[int]) -> list[Row]:
        (recipient,) = recipients
        result = await self._apns.send_notification(
            NotificationRequest(
                self._addresses.address(recipient),
                PAYLOAD,
                notification_id=str(uuid4()),
                time_to_live=86_400,
                priority=10,
                collapse_key=f"1-{recipient}",
                push_type=PushType.ALERT,
            )
        )
        return [Row(recipient, SENT if result.is_successful else str(result.description), result.notification_id)]


async def make(terms: Terms) -> Client:
    return Client(terms)


if __name__ == "__main__":
    run_client(make)
