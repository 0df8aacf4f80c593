"""Any provider by our adapter and transport alone: what a worker sends with, without all that it does besides."""

import time
from collections.abc import Sequence
from pathlib import Path

from shared.domain.outcome import Accepted
from shared.providers.contract import Account, Adapter, Content, SendRequest
from shared.providers.http import HttpTransport
from shared.providers.registry import make_adapter
from shared.providers.tokens import InMemoryTokenStore
from shared.settings import Settings
from tests.benchmarks.clients.orders import Terms, run_client
from tests.benchmarks.clients.outcomes import SENT, Row


class Client:
    def __init__(self, terms: Terms, adapter: Adapter) -> None:
        self.group = adapter.batch_size
        self.calls = max(2, adapter.in_flight_limit // self.group)  # no fewer, so that the connections never idle
        self._adapter = adapter
        self._addresses = terms.addresses
        self._content = Content(1, adapter.channel, terms.content, time.time() + 86_400)

    async def send(self, recipients: Sequence[int]) -> list[Row]:
        requests = [SendRequest(f"1-{recipient}", self._addresses.address(recipient)) for recipient in recipients]
        return [
            Row(recipients[index], SENT, outcome.provider_message_id)
            if isinstance(outcome, Accepted)
            else Row(recipients[index], outcome.reason)
            async for index, outcome in self._adapter.send(self._content, requests)
        ]


async def make(terms: Terms) -> Client:
    ca_file = Path(terms.ca_file)
    settings = Settings.model_validate(
        {
            f"endpoint_{terms.kind}": terms.origin.removeprefix("smtp://"),
            "ca_file": ca_file,
            "smtp_connections": terms.in_flight,
        }
    )
    adapter = make_adapter(
        terms.kind,
        Account(1, 1, terms.account, terms.account),
        settings=settings,
        token_store=InMemoryTokenStore(),
        transport=HttpTransport(timeout_seconds=settings.provider_timeout_seconds, ca_file=ca_file),
        live=False,
    )
    return Client(terms, adapter)


if __name__ == "__main__":
    run_client(make)
