"""The migrations and the models say the same, and an old database is brought along."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from shared.db import models  # noqa: F401  # fills the metadata
from shared.db.base import Base
from shared.db.migrate import current_revision, downgrade, newest_revision, upgrade


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
