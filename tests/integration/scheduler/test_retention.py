"""Housekeeping: dead targets leave with their subscriptions, and topics' totals follow."""

from shared.db.queries.purge import TARGETS_PAGE, purge_expired_targets
from shared.db.session import create_engine, hot_transaction
from shared.settings import Settings
from tests.factories import Factory

WEEK = 7 * 86_400.0


async def test_expired_targets_are_purged_in_pages_with_the_totals_of_their_topics(settings: Settings) -> None:
    factory = Factory(settings)
    factory.audience(TARGETS_PAGE + 20, channel="push")
    news, offers = factory.topic("news"), factory.topic("offers")
    factory.subscribe(news)
    factory.subscribe(offers, last=10)
    with factory.connect() as connection:
        # person-1 and person-2 live; person-3 has just died; all others died long ago
        connection.execute(
            "UPDATE targets SET expired = true, updated_at = now() WHERE id NOT IN ('person-1', 'person-2')"
        )
        connection.execute("UPDATE targets SET updated_at = now() - interval '8 days' WHERE id <> 'person-3'")
        connection.execute(
            "UPDATE topics SET push_total = (SELECT count(*) FROM subscribers WHERE topic_seq = topics.seq)"
        )
    engine = create_engine(settings, role="test", pool_size=1)

    purged: list[int] = []
    while not purged or purged[-1]:
        async with hot_transaction(engine) as hot:
            purged.append(await purge_expired_targets(hot, after_seconds=WEEK))
    await engine.dispose()

    assert purged == [TARGETS_PAGE, 17, 0]
    with factory.connect() as connection:
        assert connection.execute("SELECT id FROM targets ORDER BY seq").fetchall() == [
            ("person-1",),
            ("person-2",),
            ("person-3",),
        ]
        assert connection.execute("SELECT id, push_total FROM topics ORDER BY id").fetchall() == [
            ("news", 3),
            ("offers", 3),
        ]
        assert connection.execute("SELECT count(*) FROM subscribers").fetchone() == (6,)
