"""A file of nothing but bad rows: what is kept of its faults has a bound, and the rest is counted."""

from shared.db.queries.contacts.stage import MAX_FAULT_BYTES, MAX_FAULTS, forget_imports
from shared.db.session import hot_transaction
from tests.integration.contacts.conftest import Desk

KEPT = "SELECT count(*)::int, coalesce(sum(octet_length(reason)), 0)::int, max(line) FROM contact_import_faults"


async def test_the_first_faults_of_a_file_are_kept_and_the_others_counted(desk: Desk) -> None:
    done = await desk.bring_in(desk.file("email", *["x"] * (MAX_FAULTS + 2_500)))
    assert (done.bad_total, done.faults_kept) == (MAX_FAULTS + 2_500, MAX_FAULTS)
    ((count, size, last_line),) = desk.ask(KEPT)
    assert (count, last_line) == (MAX_FAULTS, MAX_FAULTS + 1)
    assert isinstance(size, int)
    assert size <= MAX_FAULT_BYTES


async def test_a_second_pass_over_a_file_keeps_its_own_first_faults(desk: Desk) -> None:
    file = desk.file("email", *["x"] * (MAX_FAULTS + 10))
    await desk.bring_in(file)
    again = await desk.bring_in(file)
    assert (again.bad_total, again.faults_kept) == (MAX_FAULTS + 10, MAX_FAULTS)


async def test_rows_after_the_bound_are_imported_all_the_same(desk: Desk) -> None:
    await desk.bring_in(desk.file("email", *["x"] * (MAX_FAULTS + 10), "anna@example.com"))
    assert [row[2] for row in desk.ask("SELECT id, name, email FROM users")] == ["anna@example.com"]


async def test_long_reasons_are_bounded_by_their_bytes(desk: Desk) -> None:
    done = await desk.bring_in(desk.file("email", *["ü" * 250] * MAX_FAULTS))
    ((count, size, _last_line),) = desk.ask(KEPT)
    assert count == done.faults_kept < done.bad_total == MAX_FAULTS
    assert isinstance(size, int)
    assert size <= MAX_FAULT_BYTES


async def test_a_finished_import_is_forgotten_with_its_faults_when_it_is_old(desk: Desk) -> None:
    await desk.bring_in(desk.file("email", "x", name="old.csv"))
    with desk.factory.connect() as connection:
        connection.execute("UPDATE contact_imports SET finished_at = now() - interval '2 days'")
    await desk.bring_in(desk.file("email", "y", name="new.csv"))
    async with hot_transaction(desk.engine) as hot:
        assert await forget_imports(hot, after_seconds=86_400, page=10) == 1
        assert await forget_imports(hot, after_seconds=86_400, page=10) == 0
    assert desk.ask("SELECT file_name FROM contact_imports") == [("new.csv",)]
    assert desk.ask("SELECT line FROM contact_import_faults") == [(2,)]
