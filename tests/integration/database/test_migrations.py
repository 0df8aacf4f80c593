"""The migrations and the models say the same, and an old database is brought along."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime

import psycopg
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine, text

from shared.db import models  # noqa: F401  # fills the metadata
from shared.db.base import Base
from shared.db.migrate import MIGRATIONS, current_revision, downgrade, newest_revision, upgrade
from shared.db.queries.partitions import partitions_ahead
from shared.settings import Settings
from tests.factories import Factory


def test_models_and_migrations_agree(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _is_ours, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def _is_ours(_object: object, name: str | None, kind: str, _reflected: object, _compared: object) -> bool:
    """Partitions are made by the scheduler and belong to no model. Expressions of indexes of words cannot be compared:
    whether they fit is told by the plans of the lists.
    """
    is_partition = kind == "table" and name is not None and name.startswith(("deliveries_", "attempts_"))
    return not (is_partition or (kind == "index" and name is not None and name.endswith("_words_idx")))


def test_an_empty_database_is_upgraded_and_emptied_again(empty_database_url: str) -> None:
    assert current_revision(empty_database_url) is None

    upgrade(empty_database_url)
    upgrade(empty_database_url)
    assert current_revision(empty_database_url) == newest_revision()

    downgrade(empty_database_url, "base")
    assert current_revision(empty_database_url) is None


def test_two_who_migrate_at_once_take_turns(empty_database_url: str) -> None:
    """Indexes that are built concurrently wait for whoever waits in a statement."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(upgrade, [empty_database_url] * 2))
    assert current_revision(empty_database_url) == newest_revision()


def test_a_filled_database_keeps_its_rows(empty_database_url: str) -> None:
    upgrade(empty_database_url, "0001")
    engine = create_engine(empty_database_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO projects (id, name) VALUES ('acme', 'Acme')"))
        connection.execute(
            text(
                "INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets)"
                " SELECT seq, 'm1', 'push', 'draft', 'bulk', '{}', '{}', '{}', '{}' FROM projects"
            )
        )

    upgrade(empty_database_url)

    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, status FROM messages")).all()
        partitions = connection.execute(
            text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'deliveries'::regclass")
        ).scalar_one()
    engine.dispose()
    assert rows == [("m1", "draft")]
    assert partitions >= 4  # this month, the months ahead, and the default


def test_a_filled_database_goes_back_to_the_first_version_and_comes_again(settings: Settings) -> None:
    """What the first tables hold outlives each step in both directions."""
    factory = Factory(settings)
    factory.provider("smtp", "mail", credentials={"host": "mail.example.com"})
    factory.audience(3, channel="email")
    factory.subscribe(factory.topic("news"))
    factory.message("m", channel="email", topics=["news"])
    url = settings.require_database_url()
    before = count_rows(url)

    newest_first = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    for revision in newest_first[1:]:
        downgrade(url, revision)
        assert count_rows(url) == before
    for revision in reversed(newest_first):
        upgrade(url, revision)
        assert count_rows(url) == before

    assert set(before.values()) == {1, 3}


def test_ledger_rows_in_a_partition_s_way_keep_no_other_from_being_made(database_url: str) -> None:
    """So a scheduler that was away for months keeps nobody from starting."""
    this_month = f"deliveries_{datetime.now(UTC):%Y_%m}"
    coming = [partition.name for partition in partitions_ahead(datetime.now(UTC)) if partition.name != this_month]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in (this_month, *coming):
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        connection.execute(
            "INSERT INTO deliveries (run, target_seq, project_seq, state, attempts, resends)"
            " VALUES (tidings_draw_run(), 1, 1, 'sent', 1, 0)"
        )

        upgrade(database_url)

        made = [name for name in coming if connection.execute("SELECT to_regclass(%s)", [name]).fetchone() != (None,)]
    assert made == coming


def count_rows(database_url: str) -> dict[str, int]:
    tables = ("projects", "api_keys", "providers", "users", "targets", "topics", "subscribers", "messages", "fan_outs")
    with psycopg.connect(database_url) as connection:
        return {
            table: len(connection.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(table))).fetchall())
            for table in tables
        }
