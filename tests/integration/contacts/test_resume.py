"""An import that is broken off, wherever that is, goes on from there and ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.db.queries.contacts.merge import IMPORT_LOCK
from shared.db.queries.contacts.run import PAGE_ROWS
from shared.domain.contacts.header import UnreadableFile
from shared.domain.contacts.progress import ImportProgress, ImportState
from shared.settings import Settings
from tests.integration.contacts.conftest import LEFT_BEHIND, Desk, people
from tests.processes import wait_until

BAD_ROW = "user-0,Nobody,person1@example.com,,news"
PAGE = 7
TRANSACTIONS = 6  # 20 rows in pages of 7: three that stage, three that merge


class Stopped(Exception):
    """The process ends here."""


@pytest.mark.parametrize("transactions", range(1, TRANSACTIONS + 1))
async def test_it_goes_on_after_any_transaction(desk: Desk, transactions: int) -> None:
    file = desk.file(*people(range(19)), BAD_ROW)
    seen: list[ImportProgress] = []

    def stop_in_time(progress: ImportProgress, _read_bytes: int) -> None:
        seen.append(progress)
        if len(seen) == transactions:
            raise Stopped

    with pytest.raises(Stopped):
        await desk.bring_in(file, page_rows=PAGE, report=stop_in_time)
    rest: list[ImportProgress] = []
    done = await desk.bring_in(file, page_rows=PAGE, report=lambda progress, _read: rest.append(progress))

    assert len(seen) + len(rest) == TRANSACTIONS + 1  # and the one that finishes: nothing was done twice
    assert (done.rows_total, done.bad_total) == (20, 1)
    assert (done.users_created, done.targets_created, done.subscriptions_created) == (19, 38, 38)
    assert list(await desk.faults(done)) == [21]
    assert not done.is_repeated
    assert desk.ask(LEFT_BEHIND) == []
    assert len(desk.holdings()["subscriptions"]) == 38


async def test_connections_lost_between_pages_are_not_noticed(desk: Desk) -> None:
    file = desk.file(*people(range(20)))

    def cut_the_line(progress: ImportProgress, _read_bytes: int) -> None:
        if progress.state is ImportState.MERGING and progress.merged_to < 10:
            desk.ask(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'tidings-test' AND datname = current_database()"
            )

    done = await desk.bring_in(file, page_rows=PAGE, report=cut_the_line)
    assert (done.rows_total, done.users_created, done.subscriptions_created) == (20, 20, 40)
    assert len(desk.holdings()["users"]) == 20


async def test_nothing_of_an_unreadable_file_is_merged(desk: Desk) -> None:
    file = desk.file(*people(range(20)), 'user-21,"Person')
    with pytest.raises(UnreadableFile, match="Line 22"):
        await desk.bring_in(file, page_rows=PAGE)
    assert desk.holdings() == {"users": [], "targets": [], "subscriptions": []}
    assert desk.ask(LEFT_BEHIND) == []
    assert desk.ask("SELECT id FROM contact_imports") == []


async def test_an_import_left_for_long_is_forgotten(desk: Desk) -> None:
    def stop(_progress: ImportProgress, _read_bytes: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        await desk.bring_in(desk.file(*people(range(20))), page_rows=PAGE, report=stop)
    assert desk.ask(LEFT_BEHIND)
    with desk.factory.connect() as connection:
        connection.execute("UPDATE contact_imports SET updated_at = now() - interval '8 days'")
    await desk.bring_in(desk.file("email", "anna@example.com", name="other.csv"))
    assert desk.ask(LEFT_BEHIND) == []
    assert desk.ask("SELECT file_name FROM contact_imports") == [("other.csv",)]


def test_it_goes_on_after_kills(settings: Settings, desk: Desk, tmp_path: Path) -> None:
    rows = PAGE_ROWS + 100
    file = desk.file(*people(range(rows)))
    command = [sys.executable, "-P", "-c", "from shared.cli.main import run; run()", "import", str(file.path), "--json"]
    environment = {**os.environ, "TIDINGS_DATABASE_URL": settings.require_database_url()}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE)

    # Merging needs this lock: whoever holds it decides where the import stands when it is killed. A killed one keeps
    # its place in the queue, for Postgres notices the death of a client only when it has something to tell it.
    before_merging, after_one_page = Turn(desk), Turn(desk)
    before_merging.ask_for()
    first = start()
    wait_until(lambda: waiting(desk) == 1, seconds=30)
    kill(first)
    assert desk.ask("SELECT state, merged_to FROM contact_imports") == [("merging", 0)]

    second = start()
    wait_until(lambda: waiting(desk) == 2, seconds=30)
    after_one_page.ask_for()
    wait_until(lambda: waiting(desk) == 3)
    before_merging.give_up()
    wait_until(lambda: after_one_page.is_granted and waiting(desk) == 1)
    kill(second)
    assert desk.ask("SELECT state, merged_to FROM contact_imports") == [("merging", PAGE_ROWS + 1)]
    after_one_page.give_up()

    last = start()
    last.communicate()
    assert last.returncode == 0
    assert desk.ask("SELECT state, rows_total, users_created, targets_created FROM contact_imports") == [
        ("finished", rows, rows, 2 * rows)
    ]
    assert len(desk.holdings()["subscriptions"]) == 2 * rows


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


class Turn:
    """Our own place in the queue for the lock that merging needs."""

    def __init__(self, desk: Desk) -> None:
        self._connection = desk.factory.connect()
        self._parameters = [IMPORT_LOCK, desk.factory.project_seq]

    def ask_for(self) -> None:
        self._connection.pgconn.send_query_params(
            b"SELECT pg_advisory_lock($1::int, $2::int)", [str(value).encode() for value in self._parameters]
        )

    @property
    def is_granted(self) -> bool:
        self._connection.pgconn.consume_input()
        return not self._connection.pgconn.is_busy()

    def give_up(self) -> None:
        self._connection.close()


def waiting(desk: Desk) -> int:
    ((count,),) = desk.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    assert isinstance(count, int)
    return count
