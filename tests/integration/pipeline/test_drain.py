"""One process at work: whoever is slow, silent or gone holds up nobody else, and a stop leaves nothing open."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from shared.domain.outcome import Retry, Unknown
from shared.domain.queues import DELIVERY_QUEUES, DeliveryQueue
from shared.domain.status import Lane
from shared.providers.contract import Account, Adapter
from shared.queue.rings import Ringer
from tests.integration.pipeline.conftest import Bench
from tests.integration.pipeline.worker import Provider, Worker, working
from tests.unit.workers.batches import POLICY
from workers.accounts import FAILURES_THAT_REST
from workers.drain import PROBES_AT_ONCE, REFRESH_SECONDS, Drain
from workers.fan_out import Planner

UNREACHABLE = Retry("connection refused", scope="provider")


@dataclass(slots=True)
class Process:
    bench: Bench
    worker: Worker
    drain: Drain

    async def until(self, condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  # the database tells nobody
                await asyncio.sleep(0.02)

    async def until_sent(self, run: int) -> None:
        await self.until(lambda: self.is_sent(run))

    def is_sent(self, run: int) -> bool:
        return set(self.bench.states(run)) == {"sent"}

    def message_to(self, provider_id: str, recipients: int = 1, *, lane: str = "transactional") -> int:
        """A push message to so many people of its own whose devices belong to this account; its run."""
        run = self.bench.campaign(recipients, lane=lane)
        self.bench.do(
            "UPDATE targets SET provider_id = %s WHERE seq IN (SELECT target_seq FROM subscribers WHERE topic_seq ="
            " (SELECT topics.seq FROM topics JOIN messages ON topics.id = messages.topics[1] WHERE messages.run = %s))",
            provider_id,
            run,
        )
        return run


@pytest.fixture
def well() -> Provider:
    provider = Provider()
    provider.may_answer.set()
    return provider


@asynccontextmanager
async def at_work(
    bench: Bench,
    accounts: dict[str, Provider],
    *,
    unrung_seconds: float = 0.2,
    rates: Mapping[str, float] | None = None,
) -> AsyncIterator[Process]:
    """A process that serves FCM accounts of these names, some at a rate."""
    named = {name: bench.factory.provider("fcm", name, credentials={}) for name in accounts}
    seqs = {seq: accounts[name] for name, seq in named.items()}
    limits = {named[name]: per_second for name, per_second in (rates or {}).items()}

    def make(_kind: str, account: Account, _is_live: bool) -> Adapter:  # noqa: FBT001  # a callback
        return seqs[account.provider_seq]

    policy = replace(POLICY, base_seconds=0.05, cap_seconds=0.1, max_resends=100, quick_retries=1_000)
    async with working(bench, next(iter(accounts.values())), make=make, policy=policy, rates=limits) as worker:
        drain = Drain(
            engine=bench.engine,
            queues=["fan_out", *(queue.name for queue in DELIVERY_QUEUES)],
            planner=Planner(bench.engine, bench.settings),
            claimer=worker.claimer,
            deliverer=worker.deliverer,
            accounts=worker.accounts,
            window=worker.window,
            ringer=Ringer(bench.settings),  # never started: what it is told is not rung
            unrung_seconds=unrung_seconds,
        )
        running = asyncio.create_task(drain.run())
        try:
            yield Process(bench, worker, drain)
        finally:
            await drain.stop(patience_seconds=0.1)
            await running


@pytest.mark.parametrize("lane", ["transactional", "bulk"])
async def test_a_silent_account_holds_up_no_other_of_its_kind_and_lane(bench: Bench, well: Provider, lane: str) -> None:
    silent = Provider()
    async with at_work(bench, {"silent": silent, "well": well}) as process:
        stuck = [process.message_to("silent", 100, lane="bulk") for _ in range(2)]
        stuck += [process.message_to("silent", lane="transactional") for _ in range(30)]
        await silent.is_called.wait()
        for _ in range(3):
            await process.until_sent(process.message_to("well", 20, lane=lane))

        assert "sent" not in bench.states(stuck[0])
        silent.may_answer.set()
        await process.until(lambda: all(map(process.is_sent, stuck)))


async def test_what_one_recipient_waits_for_keeps_none_of_its_message_waiting(bench: Bench) -> None:
    provider = Provider()
    held = asyncio.Event()
    provider.may_answer.set()
    provider.waits_for = lambda request: held if request.identifier.endswith("-7") else None
    async with at_work(bench, {"own": provider}) as process:
        run = process.message_to("own", 40, lane="bulk")
        await process.until(lambda: bench.states(run).get("sent") == 39)
        held.set()
        await process.until(lambda: process.is_sent(run))


async def test_an_account_that_is_away_is_probed_by_one_recipient_and_served_when_it_is_back(
    bench: Bench, well: Provider
) -> None:
    away = Provider(answer=lambda _request: replace(UNREACHABLE))
    away.may_answer.set()
    async with at_work(bench, {"away": away, "well": well}) as process:
        stuck = process.message_to("away", 200, lane="bulk")
        await away.is_called.wait()
        await asyncio.sleep(2.5)  # a rest of one second, and the next one begun
        asked = len(away.asked)
        run = process.message_to("well")
        await process.until(lambda: process.is_sent(run))

        assert asked <= away.in_flight_limit + 3
        assert bench.states(stuck) == {"queued": 200}
        away.answer = well.answer
        await process.until(lambda: process.is_sent(stuck), seconds=30)


async def test_silence_counts_as_being_away(bench: Bench, well: Provider) -> None:
    silent = Provider(answer=lambda _request: Unknown("no answer"))
    silent.may_answer.set()
    async with at_work(bench, {"silent": silent, "well": well}) as process:
        process.message_to("silent", 500, lane="bulk")
        await silent.is_called.wait()
        await asyncio.sleep(1.5)

        assert len(silent.asked) <= silent.in_flight_limit + 3


async def test_a_message_that_is_deleted_while_it_is_sent_stops_soon(bench: Bench) -> None:
    slow = Provider()
    slow.may_answer.set()
    slow.pause_seconds = 0.1
    async with at_work(bench, {"slow": slow}) as process:
        run = process.message_to("slow", 1_000, lane="bulk")
        await slow.is_called.wait()
        bench.do("UPDATE messages SET deleted_at = now()")
        await process.until(lambda: "queued" not in bench.states(run), seconds=REFRESH_SECONDS + 15)

    states = bench.states(run)
    assert states["cancelled"] > 800
    assert states["sent"] + states["cancelled"] == 1_000


async def test_who_is_suppressed_or_deleted_while_a_batch_waits_gets_nothing(bench: Bench) -> None:
    provider = Provider()
    async with at_work(bench, {"own": provider}) as process:
        run = process.message_to("own", 40, lane="bulk")
        await provider.is_called.wait()
        (last,) = bench.ask("SELECT targets[cardinality(targets)] FROM batches ORDER BY seq DESC LIMIT 1")
        bench.do("DELETE FROM targets WHERE seq = %s", last[0])
        await asyncio.sleep(REFRESH_SECONDS + 0.7)
        provider.may_answer.set()
        await process.until(lambda: "queued" not in bench.states(run))

    assert bench.ask("SELECT state FROM deliveries WHERE target_seq = %s", last[0]) == [("skipped",)]


async def test_a_stop_waits_for_what_is_in_flight_and_gives_the_rest_back(bench: Bench) -> None:
    provider = Provider()
    async with at_work(bench, {"own": provider}) as process:
        run = process.message_to("own", 40, lane="bulk")
        await provider.is_called.wait()
        stop = asyncio.create_task(process.drain.stop(patience_seconds=10))
        await asyncio.sleep(0.1)
        provider.may_answer.set()
        await stop

        asked = len(provider.asked)
        assert bench.states(run) == {"sent": asked, "queued": 40 - asked}
        assert bench.ask("SELECT DISTINCT state FROM batches") == [("due",)]


async def test_a_database_that_was_away_is_served_again(bench: Bench, well: Provider) -> None:
    async with at_work(bench, {"own": well}) as process:
        bench.do(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        run = process.message_to("own")
        await process.until(lambda: process.is_sent(run))


async def test_accounts_that_wait_for_their_rate_hold_up_no_other(bench: Bench, well: Provider) -> None:
    accounts = {f"slow{number}": Provider() for number in range(4)}
    for provider in accounts.values():
        provider.may_answer.set()
    rates = dict.fromkeys(accounts, 0.5)
    async with at_work(bench, {"well": well, **accounts}, rates=rates) as process:
        await process.until_sent(process.message_to("well"))
        for _ in range(30):
            for name in accounts:
                process.message_to(name)
        for _ in range(3):
            await process.until_sent(process.message_to("well"))

        assert all(len(provider.asked) < 30 for provider in accounts.values())


async def test_accounts_at_rest_with_nothing_due_keep_no_other_from_being_probed(bench: Bench, well: Provider) -> None:
    providers = [Provider(answer=lambda _request: replace(UNREACHABLE)) for _ in range(PROBES_AT_ONCE + 1)]
    for provider in providers:
        provider.may_answer.set()
    async with at_work(bench, {f"away{number}": provider for number, provider in enumerate(providers)}) as process:
        for number, provider in enumerate(providers):
            run = process.message_to(f"away{number}", 20)
            await provider.is_called.wait()
        await process.until(lambda: all(len(provider.asked) > FAILURES_THAT_REST for provider in providers))
        while bench.ask(
            "SELECT FROM batches WHERE run <> %s AND (state = 'claimed' OR due_at < now() + interval '1 minute')", run
        ):
            bench.do(
                "UPDATE batches SET due_at = now() + interval '1 hour' WHERE run <> %s AND state = 'due'",
                run,
            )
            await asyncio.sleep(0.05)
        queue = DeliveryQueue("fcm", Lane.TRANSACTIONAL)
        await process.until(lambda: len(process.worker.accounts.to_probe(queue)) >= PROBES_AT_ONCE)
        providers[-1].answer = well.answer
        await process.until_sent(run)


@pytest.mark.parametrize("what", ["changed", "disabled"])
async def test_an_account_at_rest_that_somebody_sees_to_is_used_as_it_is_now(
    bench: Bench, well: Provider, what: str
) -> None:
    throttled = Provider(answer=lambda _request: Retry("come back", after_seconds=3_600.0, scope="provider"))
    throttled.may_answer.set()
    async with at_work(bench, {"throttled": throttled, "well": well}) as process:
        process.message_to("throttled", 20)
        await process.until(lambda: len(throttled.asked) > FAILURES_THAT_REST)
        run = process.message_to("throttled")
        await asyncio.sleep(1)
        assert not process.is_sent(run)

        if what == "changed":
            throttled.answer = well.answer
            bench.do("UPDATE providers SET version = version + 1 WHERE id = 'throttled'")
        else:  # so another one of the channel takes its place
            bench.do("UPDATE providers SET enabled = false WHERE id <> 'well'")

        await process.until_sent(run)
