"""Planning: who is in a message's audience, once each, with which provider, whatever happens on the way."""

import asyncio

import psycopg
import pytest

from shared.db.queries.finish import NO_PROVIDER, NO_RECIPIENTS
from tests.integration.pipeline.conftest import Bench, plan_next
from workers.fan_out import MAX_CRASHES, Planner


def _planned(bench: Bench, run: int) -> list[str]:
    """Public ids of the recipients, by target_seq; one planned twice is there twice."""
    rows = bench.ask(
        "SELECT targets.id FROM batches CROSS JOIN LATERAL unnest(batches.targets) AS planned (seq)"
        " JOIN targets ON targets.seq = planned.seq WHERE run = %s ORDER BY targets.seq",
        run,
    )
    return [str(target_id) for (target_id,) in rows]


def _providers(bench: Bench, run: int) -> dict[str, str]:
    """The provider of each planned recipient, by public ids."""
    rows = bench.ask(
        "SELECT targets.id, providers.id FROM batches CROSS JOIN LATERAL unnest(batches.targets) AS planned (seq)"
        " JOIN targets ON targets.seq = planned.seq JOIN providers ON providers.seq = provider_seq WHERE run = %s",
        run,
    )
    return {str(target): str(provider) for target, provider in rows}


async def test_everybody_is_planned_once_however_often_they_are_named(bench: Bench) -> None:
    bench.factory.provider("smtp", "smtp", credentials={})
    bench.factory.audience(9, channel="email")
    bench.factory.subscribe(bench.factory.topic("news"), first=1, last=5)
    bench.factory.subscribe(bench.factory.topic("offers"), first=4, last=6)
    run = bench.factory.message(
        "m",
        channel="email",
        topics=["news", "offers", "no-such-topic"],
        users=["person-6", "person-7", "nobody"],
        targets=["person-7", "person-1", "person-8"],
        data={"subject": "s", "content": "c", "cc": ["person-8", "person-9"], "bcc": ["person-9", "person-2"]},
    )

    await bench.plan(page_size=2)

    assert _planned(bench, run) == [f"person-{n}" for n in range(1, 10)]
    assert bench.progress(run, "planned, planned_at IS NOT NULL") == (9, True)


async def test_addresses_stand_for_their_targets(bench: Bench) -> None:
    bench.factory.provider("smtp", "smtp", credentials={})
    bench.factory.audience(3, channel="email")
    data: dict[str, object] = {"subject": "s", "content": "c", "emails": ["Person2@example.com", "person1@example.com"]}
    run = bench.factory.message("m", channel="email", targets=["person-1"], data=data)

    await bench.plan()

    assert _planned(bench, run) == ["person-1", "person-2"]


async def test_a_provider_that_nothing_here_can_send_through_yet_still_gets_its_batches(bench: Bench) -> None:
    bench.factory.provider("ses", "ses", credentials={})
    bench.factory.audience(1, channel="email")
    run = bench.factory.message("m", channel="email", targets=["person-1"])

    assert await bench.plan() == {"email.ses.bulk"}

    assert _planned(bench, run) == ["person-1"]


async def test_targets_of_another_channel_or_project_are_no_recipients(bench: Bench) -> None:
    bench.factory.audience(1, channel="push")
    bench.factory.audience(1, channel="email", prefix="mail")
    topic = bench.factory.topic("mixed")
    bench.factory.subscribe(topic)
    bench.factory.subscribe(topic, prefix="mail")
    bench.do("INSERT INTO projects (id, name) VALUES ('other', '')")
    bench.do(
        "WITH other AS (SELECT seq FROM projects WHERE id = 'other'), owner AS ("
        " INSERT INTO users (project_seq, id) SELECT seq, 'stranger-1' FROM other RETURNING seq, project_seq)"
        " INSERT INTO targets (project_seq, id, user_seq, channel, identifier)"
        " SELECT project_seq, 'stranger-1', seq, 'push', 'theirs' FROM owner"
    )
    run = bench.factory.message(
        "m", channel="push", topics=["mixed"], users=["mail-1", "stranger-1"], targets=["stranger-1"]
    )

    await bench.plan()

    assert _planned(bench, run) == ["person-1"]


async def test_pages_follow_each_other_in_order_and_end_with_the_token(bench: Bench) -> None:
    run = bench.campaign(10)
    planner = Planner(bench.engine, bench.settings.model_copy(update={"page_size": 4, "batch_size": 3}))

    await plan_next(planner)
    assert bench.progress(run, "planned, batches_left, planned_at") == (4, 3, None)
    await plan_next(planner)
    await plan_next(planner)

    assert bench.progress(run, "planned, batches_left, planned_at IS NOT NULL") == (10, 5, True)
    assert [len(str(targets).split(",")) for (targets,) in bench.ask("SELECT targets FROM batches ORDER BY seq")] == [
        3,
        1,
        3,
        1,
        2,
    ]
    assert await plan_next(planner) is None


async def test_a_full_last_page_is_followed_by_an_empty_one(bench: Bench) -> None:
    run = bench.campaign(4)

    await bench.plan(page_size=4)

    assert bench.progress(run, "planned, batches_left, planned_at IS NOT NULL") == (4, 1, True)


async def test_who_signs_up_after_the_start_is_not_included(bench: Bench) -> None:
    topic = bench.factory.topic("news")
    bench.factory.audience(4, channel="push")
    bench.factory.subscribe(topic)
    run = bench.factory.message("m", channel="push", topics=["news"])
    planner = Planner(bench.engine, bench.settings.model_copy(update={"page_size": 2}))
    await plan_next(planner)

    bench.factory.audience(3, channel="push", prefix="late")
    bench.factory.subscribe(topic, prefix="late")
    await bench.plan(page_size=2)

    assert _planned(bench, run) == [f"person-{n}" for n in range(1, 5)]


async def test_who_leaves_or_whose_topic_is_deleted_before_the_walk_comes_by_is_skipped(bench: Bench) -> None:
    run = bench.campaign(6)
    planner = Planner(bench.engine, bench.settings.model_copy(update={"page_size": 2}))
    await plan_next(planner)

    bench.do("DELETE FROM subscribers WHERE target_seq IN (SELECT seq FROM targets ORDER BY seq OFFSET 4)")
    await bench.plan(page_size=2)

    assert bench.progress(run, "planned, batches_left") == (4, 2)


async def test_a_topic_deleted_before_the_start_is_no_audience(bench: Bench) -> None:
    run = bench.campaign(2)
    bench.do("UPDATE topics SET deleted_at = now()")

    await bench.plan()

    assert (bench.status(run), bench.progress(run, "errors")) == ("failed", ([NO_RECIPIENTS],))


async def test_many_small_messages_are_planned_in_one_transaction(bench: Bench) -> None:
    bench.factory.audience(30, channel="push")
    runs = [
        bench.factory.message(f"m{n}", channel="push", users=[f"person-{n}"], lane="transactional")
        for n in range(1, 31)
    ]

    rung = await plan_next(Planner(bench.engine, bench.settings))

    assert rung == {"push.fcm.transactional"}
    assert bench.ask("SELECT count(DISTINCT xmin::text), count(*) FROM batches") == [(1, 30)]
    assert [_planned(bench, run) for run in runs] == [[f"person-{n}"] for n in range(1, 31)]


async def test_transactional_messages_are_planned_before_campaigns_that_came_earlier(bench: Bench) -> None:
    bench.campaign(3)
    bench.factory.audience(1, channel="push")
    run = bench.factory.message("m", channel="push", users=["person-1"], lane="transactional")

    await plan_next(Planner(bench.engine, bench.settings))

    assert _planned(bench, run) == ["person-1"]
    assert bench.ask("SELECT count(*) FROM fan_outs") == [(1,)]


async def test_a_message_that_is_being_planned_elsewhere_is_left_alone(bench: Bench) -> None:
    bench.campaign(2)
    with bench.factory.connect() as connection, connection.transaction():
        connection.execute("SELECT FROM fan_outs FOR UPDATE")

        assert await plan_next(Planner(bench.engine, bench.settings)) is None


async def test_one_broken_message_does_not_hold_up_its_neighbours_and_fails_after_three_tries(bench: Bench) -> None:
    bench.factory.audience(2, channel="push")
    whole, broken, after = (
        bench.factory.message(f"m{n}", channel="push", users=["person-1"], lane="transactional") for n in range(3)
    )
    # a row that no release writes: cc must be a list
    bench.do('UPDATE messages SET data = \'{"cc": "oops"}\' WHERE run = %s', broken)

    for _ in range(MAX_CRASHES):
        await bench.plan()
        bench.do("UPDATE fan_outs SET due_at = now()")

    assert _planned(bench, whole) == _planned(bench, after) == ["person-1"]
    assert bench.status(broken) == "failed"
    ((error,),) = bench.progress(broken, "errors")
    assert str(error).startswith("The message could not be planned: ")
    assert bench.progress(broken, "batches_left, planned") == (0, 0)


async def test_a_lost_connection_is_no_fault_of_the_message(bench: Bench) -> None:
    run = bench.campaign(2)
    with bench.factory.connect() as connection, connection.transaction():
        connection.execute("SELECT FROM message_progress FOR UPDATE")
        planning = asyncio.create_task(bench.plan())
        await bench.wait_for_a_blocked_statement()
        bench.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidings-test'")
        with pytest.raises(psycopg.OperationalError):
            await planning

    assert bench.ask("SELECT crashes, cursor FROM fan_outs") == [(0, 0)]
    await bench.plan()
    assert bench.progress(run, "planned, batches_left") == (2, 1)


async def test_a_message_deleted_before_it_is_planned_reaches_nobody(bench: Bench) -> None:
    run = bench.campaign(2)
    bench.do("UPDATE messages SET deleted_at = now()")

    await bench.plan()

    assert bench.ask("SELECT count(*) FROM batches") == [(0,)]
    assert bench.progress(run, "planned, batches_left, finished_at IS NOT NULL") == (0, 0, True)


async def test_a_message_deleted_between_two_pages_plans_no_further(bench: Bench) -> None:
    run = bench.campaign(4)
    await plan_next(Planner(bench.engine, bench.settings.model_copy(update={"page_size": 2})))
    bench.do("UPDATE messages SET deleted_at = now()")

    await bench.plan()

    assert bench.progress(run, "planned, batches_left, finished_at") == (2, 1, None)


async def test_each_target_goes_to_its_own_provider_or_else_to_the_oldest(bench: Bench) -> None:
    for name, enabled in (("second", True), ("disabled", False)):
        bench.factory.provider("fcm", name, credentials={}, enabled=enabled)
    bench.factory.provider("smtp", "mail", credentials={})
    bench.factory.audience(5, channel="push")
    for number, provider in ((2, "second"), (3, "disabled"), (4, "no-such-provider"), (5, "mail")):
        bench.do("UPDATE targets SET provider_id = %s WHERE id = %s", provider, f"person-{number}")
    run = bench.factory.message("m", channel="push", users=[f"person-{n}" for n in range(1, 6)])

    await bench.plan()

    assert _providers(bench, run) == {
        "person-1": "fcm",
        "person-2": "second",
        "person-3": "fcm",
        "person-4": "fcm",
        "person-5": "fcm",
    }


async def test_the_default_is_the_oldest_that_is_enabled(bench: Bench) -> None:
    bench.do("UPDATE providers SET enabled = false")
    bench.factory.provider("fcm", "younger", credentials={})
    bench.factory.provider("fcm", "youngest", credentials={})
    run = bench.campaign(1)

    await bench.plan()

    assert set(_providers(bench, run).values()) == {"younger"}


async def test_without_an_enabled_provider_the_message_fails_and_was_never_delivered(bench: Bench) -> None:
    bench.do("UPDATE providers SET enabled = false")
    run = bench.campaign(2)

    await bench.plan()

    assert (bench.status(run), bench.progress(run, "errors, planned")) == ("failed", ([NO_PROVIDER], 0))
    assert bench.ask("SELECT delivered_at FROM messages") == [(None,)]


async def test_without_recipients_the_message_fails_whether_or_not_there_is_a_provider(bench: Bench) -> None:
    bench.do("UPDATE providers SET enabled = false")
    run = bench.factory.message("m", channel="push", users=["nobody"])

    await bench.plan()

    assert (bench.status(run), bench.progress(run, "errors")) == ("failed", ([NO_RECIPIENTS],))
    assert bench.ask("SELECT delivered_at FROM messages") == [(None,)]


async def test_what_was_planned_before_the_last_provider_went_is_still_delivered(bench: Bench) -> None:
    run = bench.campaign(4)
    await plan_next(Planner(bench.engine, bench.settings.model_copy(update={"page_size": 2})))
    bench.do("UPDATE providers SET enabled = false")

    await bench.plan()

    assert bench.progress(run, "planned, batches_left, errors, finished_at") == (2, 1, [NO_PROVIDER], None)


async def test_who_is_deleted_between_two_pages_cuts_nobody_behind_off(bench: Bench) -> None:
    bench.factory.audience(9, channel="push")
    bench.factory.subscribe(bench.factory.topic("news"))
    run = bench.factory.message("m", channel="push", topics=["news"], targets=["person-5"])
    planner = Planner(bench.engine, bench.settings.model_copy(update={"page_size": 3}))

    await plan_next(planner)
    bench.do("DELETE FROM targets WHERE id = 'person-5'")
    while await plan_next(planner) is not None:
        pass

    assert _planned(bench, run) == [f"person-{n}" for n in (1, 2, 3, 4, 6, 7, 8, 9)]
    assert bench.progress(run, "planned, planned_at IS NOT NULL") == (8, True)


async def test_a_large_message_is_planned_without_the_small_ones_that_wait(bench: Bench) -> None:
    campaign = bench.campaign(5)
    bench.factory.audience(1, channel="push")
    single = bench.factory.message("m", channel="push", users=["person-1"], lane="transactional")

    await Planner(bench.engine, bench.settings).plan_due(is_bulk=True)

    assert bench.progress(campaign, "planned, planned_at IS NOT NULL") == (5, True)
    assert bench.progress(single, "planned") == (0,)
