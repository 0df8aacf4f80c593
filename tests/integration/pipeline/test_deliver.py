"""Delivering a claimed batch: slots, marks, outcomes, and the ways in which nothing is sent."""

import asyncio
from dataclasses import replace

import pytest

from shared.db.queries.finish import NO_PROVIDER
from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Outcome, Refused, Retry
from shared.providers.contract import Account, Adapter, SendRequest
from tests.integration.pipeline.conftest import Bench
from tests.integration.pipeline.worker import PROVIDER_TIMEOUT_SECONDS, Provider, working
from tests.unit.workers.batches import POLICY

BAD_KEY = AccountFault("bad key")


@pytest.fixture
def provider() -> Provider:
    provider = Provider()
    provider.may_answer.set()
    return provider


async def test_everybody_in_a_batch_is_sent_once_and_the_batch_is_closed(bench: Bench, provider: Provider) -> None:
    run = await bench.planned_campaign(25)
    async with working(bench, provider) as worker:
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert len(provider.asked) == len(set(provider.asked)) == 25
    assert bench.progress(run, "sent, batches_left, finished_at IS NOT NULL") == (25, 0, True)
    assert bench.status(run) == "sent"


async def test_recipients_are_marked_before_they_are_handed_over(bench: Bench, provider: Provider) -> None:
    provider.may_answer.clear()
    await bench.planned_campaign(25)
    async with working(bench, provider) as worker:
        (batch,) = await worker.claim()
        delivery = asyncio.create_task(worker.deliverer.deliver(batch))
        await provider.is_called.wait()

        ((attempted_to, recorded_total),) = bench.ask("SELECT attempted_to, recorded_total FROM batches")
        assert len(provider.asked) <= attempted_to <= provider.in_flight_limit
        assert recorded_total == 0

        provider.may_answer.set()
        await delivery


async def test_targets_that_were_deleted_or_died_meanwhile_are_skipped(bench: Bench, provider: Provider) -> None:
    run = await bench.planned_campaign(4)
    first, second = (seq for (seq,) in bench.ask("SELECT seq FROM targets ORDER BY seq LIMIT 2"))
    bench.do("DELETE FROM targets WHERE seq = %s", first)
    bench.do("UPDATE targets SET expired = true WHERE seq = %s", second)
    async with working(bench, provider) as worker:
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert len(provider.asked) == 2
    assert bench.states(run) == {"skipped": 2, "sent": 2}
    assert bench.status(run) == "sent"


async def test_nothing_of_a_deleted_message_is_sent(bench: Bench, provider: Provider) -> None:
    run = await bench.planned_campaign(3)
    bench.do("UPDATE messages SET deleted_at = now()")
    async with working(bench, provider) as worker:
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert (provider.asked, bench.states(run)) == ([], {"cancelled": 3})


async def test_nothing_is_sent_after_the_time_to_live(bench: Bench, provider: Provider) -> None:
    run = await bench.planned_campaign(3)
    bench.do("UPDATE messages SET expires_at = now()")
    async with working(bench, provider) as worker:
        await worker.deliver_due()

    assert (provider.asked, bench.states(run)) == ([], {"expired": 3})
    assert bench.status(run) == "failed"


async def test_recipients_of_a_disabled_provider_go_on_with_the_oldest_enabled_one(
    bench: Bench, provider: Provider
) -> None:
    heir, _ = (bench.factory.provider("fcm", name, credentials={}) for name in ("older", "younger"))
    run = await bench.planned_campaign(3)
    bench.do("UPDATE providers SET enabled = false WHERE id = 'fcm'")
    async with working(bench, provider) as worker:
        await worker.deliver_due()

    assert bench.ask("SELECT DISTINCT provider_seq, state FROM deliveries") == [(heir, "sent")]
    assert (bench.status(run), bench.progress(run, "errors")) == ("sent", ([],))


@pytest.mark.parametrize("change", ["UPDATE providers SET enabled = false", "DELETE FROM providers"])
async def test_without_any_provider_left_they_fail(bench: Bench, provider: Provider, change: str) -> None:
    run = await bench.planned_campaign(3)
    bench.do(change)
    async with working(bench, provider) as worker:
        await worker.deliver_due()

    assert bench.states(run) == {"failed": 3}
    assert bench.ask("SELECT DISTINCT reason FROM deliveries") == [(NO_PROVIDER,)]


async def test_an_adapter_that_breaks_leaves_its_recipients_unknown(bench: Bench, provider: Provider) -> None:
    answered: list[str] = []

    def break_at_the_second(request: SendRequest) -> Outcome:
        answered.append(request.identifier)
        if len(answered) == 2:
            raise RuntimeError
        return Accepted()

    provider.answer = break_at_the_second
    run = await bench.planned_campaign(2)
    async with working(bench, provider, policy=replace(POLICY, max_resends=0)) as worker:
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert bench.states(run) == {"sent": 1, "unknown": 1}


async def test_a_batch_that_a_bug_ends_is_left_to_the_sweep(bench: Bench, provider: Provider) -> None:
    def make(_kind: str, _account: Account, _is_live: bool) -> Adapter:  # noqa: FBT001  # a callback
        raise RuntimeError

    await bench.planned_campaign(2)
    async with working(bench, provider, make=make, lease_seconds=0.3) as worker:
        (batch,) = await worker.claim()
        with pytest.raises(RuntimeError):
            await worker.deliverer.deliver(batch)

        await asyncio.sleep(0.35)
        assert (await bench.recover()).batches == 1


async def test_a_slice_that_ends_gives_back_what_is_not_marked(bench: Bench, provider: Provider) -> None:
    provider.may_answer.clear()
    run = await bench.planned_campaign(25)
    async with working(bench, provider) as worker:
        (batch,) = await worker.claim()
        delivery = asyncio.create_task(worker.deliverer.deliver(batch))
        await provider.is_called.wait()
        batch.is_stopping = True
        provider.may_answer.set()
        await delivery

        assert worker.slots_out() == 0
        asked = len(provider.asked)
        assert 0 < asked < 25
        assert bench.states(run) == {"sent": asked, "queued": 25 - asked}
        await worker.deliver_due()
    assert len(provider.asked) == len(set(provider.asked)) == 25


async def test_nothing_leaves_when_the_lease_cannot_outlast_a_call(bench: Bench, provider: Provider) -> None:
    await bench.planned_campaign(3)
    policy = replace(POLICY, base_seconds=3_600.0)
    async with working(bench, provider, policy=policy, lease_seconds=PROVIDER_TIMEOUT_SECONDS / 2) as worker:
        (batch,) = await worker.claim()
        await worker.deliverer.deliver(batch)

        assert worker.slots_out() == 0
    assert provider.asked == []
    assert bench.ask("SELECT DISTINCT outcome, decision FROM attempts") == [("retry", "retry")]


async def test_a_worker_whose_claim_was_taken_stops_and_writes_nothing(bench: Bench, provider: Provider) -> None:
    provider.may_answer.clear()
    run = await bench.planned_campaign(25)
    async with working(bench, provider) as worker:
        (batch,) = await worker.claim()
        delivery = asyncio.create_task(worker.deliverer.deliver(batch))
        await provider.is_called.wait()
        bench.run_out(batch.claimed)
        await bench.recover()
        provider.may_answer.set()
        await delivery
        await worker.come_to_rest()
    assert len(provider.asked) <= provider.in_flight_limit
    assert bench.states(run) == {"queued": 25}


async def test_a_cancelled_delivery_leaves_no_slot_and_no_lease_behind(bench: Bench, provider: Provider) -> None:
    provider.may_answer.clear()
    await bench.planned_campaign(25)
    async with working(bench, provider, lease_seconds=0.3) as worker:
        (batch,) = await worker.claim()
        delivery = asyncio.create_task(worker.deliverer.deliver(batch))
        await provider.is_called.wait()
        delivery.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivery

        await worker.come_to_rest()
        await asyncio.sleep(0.5)
        assert (await bench.recover()).batches == 1


async def test_one_recipient_probes_an_account_at_fault_and_the_rest_wait(bench: Bench, provider: Provider) -> None:
    provider.answer = lambda _request: BAD_KEY
    run = await bench.planned_campaign(25)
    bench.do("UPDATE providers SET fault_reason = 'bad key', fault_since = now()")
    async with working(bench, provider) as worker:
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert len(provider.asked) == 1
    assert bench.states(run) == {"queued": 25}
    assert bench.ask("SELECT count(*), bool_and(due_at > now() + interval '10 s') FROM batches") == [(2, True)]


async def test_a_mended_account_sends_to_all_who_waited(bench: Bench, provider: Provider) -> None:
    run = await bench.planned_campaign(25)
    bench.do("UPDATE providers SET fault_reason = 'bad key', fault_since = now()")
    bench.do("UPDATE batches SET waiting_since = now() - interval '5 minutes'")
    async with working(bench, provider) as worker:
        await worker.deliver_due()

    assert bench.states(run) == {"sent": 25}
    assert bench.ask("SELECT fault_reason FROM providers") == [(None,)]


async def test_when_patience_ends_all_who_wait_fail_together(bench: Bench, provider: Provider) -> None:
    provider.answer = lambda _request: BAD_KEY
    run = await bench.planned_campaign(25)
    bench.do("UPDATE providers SET fault_reason = 'bad key', fault_since = now() - interval '1 hour'")
    bench.do("UPDATE batches SET waiting_since = now() - interval '1 hour'")
    async with working(bench, provider) as worker:
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert len(provider.asked) == 1
    assert bench.states(run) == {"failed": 25}
    assert bench.ask("SELECT DISTINCT reason FROM deliveries") == [("bad key",)]


async def test_when_patience_ends_all_who_wait_change_to_another_account_together(
    bench: Bench, provider: Provider
) -> None:
    spare = bench.factory.provider("fcm", "spare", credentials={})
    working_account = Provider()
    working_account.may_answer.set()
    provider.answer = lambda _request: BAD_KEY
    run = await bench.planned_campaign(25)
    bench.do("UPDATE batches SET waiting_since = now() - interval '1 hour'")

    def make(_kind: str, account: Account, _is_live: bool) -> Adapter:  # noqa: FBT001  # a callback
        return working_account if account.provider_seq == spare else provider

    async with working(bench, provider, make=make) as worker:
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert len(working_account.asked) == 25
    assert bench.ask("SELECT DISTINCT provider_seq, state FROM deliveries") == [(spare, "sent")]
    assert bench.status(run) == "sent"


async def test_bad_addresses_in_the_mass_are_the_accounts_fault_and_no_target_ends(
    bench: Bench, provider: Provider
) -> None:
    """The account is of the wrong environment; then it is put right."""
    provider.answer = lambda _request: DeadAddress("BadDeviceToken", is_suspicious=True)
    run = await bench.planned_campaign(60)
    async with working(bench, provider) as worker:
        await worker.deliver_due()
        ((reason,),) = bench.ask("SELECT fault_reason FROM providers")
        assert "environment" in reason
        assert "BadDeviceToken" in reason
        assert bench.states(run) == {"queued": 60}

        provider.answer = lambda _request: Accepted()
        bench.do("UPDATE providers SET version = version + 1")
        bench.do("UPDATE batches SET due_at = now()")
        await worker.deliver_due()

    assert bench.states(run) == {"sent": 60}
    assert bench.ask("SELECT DISTINCT expired FROM targets") == [(False,)]


async def test_a_bad_address_among_good_ones_ends_its_target(bench: Bench, provider: Provider) -> None:
    bad = DeadAddress("BadDeviceToken", is_suspicious=True)
    provider.answer = lambda request: bad if request.identifier.endswith("-25") else Accepted()
    run = await bench.planned_campaign(25)
    async with working(bench, provider) as worker:
        await worker.deliver_due()

    assert bench.states(run) == {"sent": 24, "failed": 1}
    assert bench.ask("SELECT count(*) FROM targets WHERE expired") == [(1,)]


async def test_a_provider_that_is_throttled_as_a_whole_gets_its_rest(bench: Bench, provider: Provider) -> None:
    provider.answer = lambda _request: Retry("quota", after_seconds=30.0, scope="provider")
    run = await bench.planned_campaign(25)
    async with working(bench, provider) as worker:
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert len(provider.asked) <= 2 * provider.in_flight_limit
    assert bench.states(run) == {"queued": 25}
    assert bench.ask("SELECT bool_and(due_at > now() + interval '25 s') FROM batches") == [(True,)]


async def test_nobody_rests_with_an_account_beyond_the_time_to_live(bench: Bench, provider: Provider) -> None:
    provider.answer = lambda _request: Retry("quota", after_seconds=1e300, scope="provider")
    run = await bench.planned_campaign(25)
    async with working(bench, provider) as worker:
        bench.do("UPDATE messages SET expires_at = now() + interval '1 minute' WHERE run = %s", run)
        await worker.deliver_due()
        assert bench.ask("SELECT max(due_at) <= now() + interval '1 minute' FROM batches") == [(True,)]

        bench.do("UPDATE messages SET expires_at = now() WHERE run = %s", run)
        bench.do("UPDATE batches SET due_at = now()")
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert bench.states(run) == {"expired": 25}


async def test_credentials_that_no_key_opens_make_the_recipients_wait_and_say_why(
    bench: Bench, provider: Provider
) -> None:
    run = await bench.planned_campaign(3)
    bench.do("UPDATE providers SET credentials_encrypted = 'v1:gone:AAAA'")
    async with working(bench, provider) as worker:
        await worker.deliver_due()

        assert worker.slots_out() == 0
    assert (provider.asked, bench.states(run)) == ([], {"queued": 3})
    assert bench.ask("SELECT fault_reason IS NOT NULL FROM providers") == [(True,)]


async def test_refusals_of_some_leave_the_others_alone(bench: Bench, provider: Provider) -> None:
    provider.answer = lambda request: Refused("no") if request.identifier.endswith("-7") else Accepted()
    run = await bench.planned_campaign(9)
    async with working(bench, provider) as worker:
        await worker.deliver_due()

    assert bench.states(run) == {"sent": 8, "failed": 1}
    assert bench.progress(run, "cardinality(errors)") == (1,)
