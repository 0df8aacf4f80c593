"""Workers share a provider's short-lived token, and none of them waits long for another."""

import asyncio
import time

import pytest

from shared.db.secrets import open_secret_box
from shared.providers.contract import Account, TokenUnavailable
from tests.integration.pipeline.conftest import Bench
from workers.tokens import PostgresTokenStore


class SlowMaker:
    """A token endpoint that answers when the test lets it."""

    def __init__(self) -> None:
        self.asked, self.released = asyncio.Event(), asyncio.Event()
        self.count = 0

    async def __call__(self) -> tuple[str, float]:
        self.count += 1
        self.asked.set()
        await self.released.wait()
        return f"t{self.count}", time.time() + 3600


async def test_one_worker_makes_the_token_for_all(bench: Bench) -> None:
    account, make = Account(bench.provider_seq, 1, {}), SlowMaker()
    make.released.set()
    stores = [PostgresTokenStore(bench.engine, open_secret_box(bench.settings)) for _ in range(3)]

    made = [store.renew(account, "fcm", stale=None, make=make, margin_seconds=300) for store in stores]

    assert await asyncio.gather(*made) == ["t1"] * 3


async def test_who_waits_too_long_for_another_worker_tries_again_later(bench: Bench) -> None:
    account, make = Account(bench.provider_seq, 1, {}), SlowMaker()
    store = PostgresTokenStore(bench.engine, open_secret_box(bench.settings))
    slow = asyncio.create_task(store.renew(account, "fcm", stale=None, make=make, margin_seconds=300))
    await make.asked.wait()

    with pytest.raises(TokenUnavailable, match="another worker"):
        await store.renew(account, "fcm", stale=None, make=make, margin_seconds=300)

    make.released.set()
    assert await slow == "t1"
    assert await store.renew(account, "fcm", stale=None, make=make, margin_seconds=300) == "t1"


async def test_tokens_in_the_making_hold_no_connection(bench: Bench) -> None:
    store = PostgresTokenStore(bench.engine, open_secret_box(bench.settings))
    accounts = [Account(bench.factory.provider("fcm", f"fcm-{n}", credentials={}), 1, {}) for n in range(20)]
    silent = [SlowMaker() for _ in accounts]
    making = [
        asyncio.create_task(store.renew(account, "fcm", stale=None, make=make, margin_seconds=300))
        for account, make in zip(accounts, silent, strict=True)
    ]
    await asyncio.gather(*(make.asked.wait() for make in silent))

    assert bench.engine.pool.status().endswith("Current Checked out connections: 0")
    for make in silent:
        make.released.set()
    assert await asyncio.gather(*making) == ["t1"] * 20


async def test_a_worker_that_died_while_it_made_a_token_is_waited_for_no_longer_than_its_lease(bench: Bench) -> None:
    account, make = Account(bench.provider_seq, 1, {}), SlowMaker()
    store = PostgresTokenStore(bench.engine, open_secret_box(bench.settings), lease_seconds=0.3)
    dead = asyncio.create_task(store.renew(account, "fcm", stale=None, make=make, margin_seconds=300))
    await make.asked.wait()

    other = SlowMaker()
    other.released.set()
    assert await store.renew(account, "fcm", stale=None, make=other, margin_seconds=300) == "t1"
    dead.cancel()
