"""SMTP by aiosmtplib: connections that are kept, a mail after the other on each, put together from parts made once."""

from collections.abc import Sequence

from aiosmtplib import SMTP

from tests.benchmarks.clients.orders import Terms, run_client
from tests.benchmarks.clients.outcomes import SENT, Row
from tests.benchmarks.peers.content import SENDER, email_bytes


class Client:
    group = 1

    def __init__(self, terms: Terms, connections: list[SMTP]) -> None:
        self.calls = len(connections)
        self._free = connections
        self._addresses = terms.addresses

    async def send(self, recipients: Sequence[int]) -> list[Row]:
        (recipient,) = recipients
        connection = self._free.pop()
        address = self._addresses.address(recipient)
        _, answer = await connection.sendmail(SENDER, [address], email_bytes(address))
        self._free.append(connection)
        return [Row(recipient, SENT, answer)]


async def make(terms: Terms) -> Client:
    connections = [SMTP(hostname=terms.host, port=terms.port) for _ in range(terms.in_flight)]
    for connection in connections:
        await connection.connect()
    return Client(terms, connections)


if __name__ == "__main__":
    run_client(make)
