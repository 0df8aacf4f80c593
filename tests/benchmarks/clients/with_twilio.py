"""Twilio by its own package, asynchronous: on connections that are kept, as many as ours."""

import ssl
from collections.abc import Sequence

from aiohttp import ClientSession, TCPConnector
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client as TwilioClient

from tests.benchmarks.clients.orders import Terms, run_client
from tests.benchmarks.clients.outcomes import SENT, Row
from tests.benchmarks.peers.content import BODY


class Client:
    group = 1

    def __init__(self, terms: Terms) -> None:
        self.calls = terms.in_flight
        tls = ssl.create_default_context(cafile=terms.ca_file)
        http = AsyncTwilioHttpClient(pool_connections=False)
        http.session = ClientSession(connector=TCPConnector(limit=self.calls, ssl=tls))
        account = terms.account
        self._twilio = TwilioClient(account["accountSid"], account["authToken"], http_client=http)
        self._twilio.api.base_url = terms.origin
        self._from = account["from"]
        self._addresses = terms.addresses

    async def send(self, recipients: Sequence[int]) -> list[Row]:
        (recipient,) = recipients
        message = await self._twilio.messages.create_async(
            to=self._addresses.address(recipient), from_=self._from, body=BODY
        )
        return [Row(recipient, SENT, message.sid)]


async def make(terms: Terms) -> Client:
    return Client(terms)


if __name__ == "__main__":
    run_client(make)
