"""A project to import into, contact files, and what the database holds afterwards."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.contacts.run import ContactFile, Report, import_contacts, read_faults
from shared.db.queries.contacts.stage import StoredImport
from shared.db.queries.keys import ProjectIdentity
from shared.db.session import create_engine
from shared.domain.contacts.header import Layout
from shared.domain.contacts.progress import ImportProgress
from shared.ids import ProjectSeq
from shared.settings import Settings
from tests.factories import Factory

Rows = list[tuple[object, ...]]

USERS = "SELECT id, name, email, phone FROM users ORDER BY id"
TARGETS = (
    "SELECT users.id, channel, identifier, targets.id FROM targets JOIN users ON users.seq = user_seq"
    " ORDER BY identifier"
)
SUBSCRIPTIONS = (
    "SELECT topics.id, identifier, subscribers.channel FROM subscribers JOIN topics ON topics.seq = topic_seq"
    " JOIN targets ON targets.seq = target_seq ORDER BY topics.id, identifier"
)
WRONG_TOTALS = (
    "SELECT topics.id FROM topics LEFT JOIN subscribers ON topic_seq = topics.seq GROUP BY topics.seq"
    " HAVING (email_total, sms_total, push_total) IS DISTINCT FROM (count(*) FILTER (WHERE channel = 'email'),"
    " count(*) FILTER (WHERE channel = 'sms'), count(*) FILTER (WHERE channel = 'push'))"
)
LEFT_BEHIND = "SELECT line FROM contact_import_rows"


def nobody_watches(_progress: ImportProgress, _read_bytes: int) -> None:
    pass


@dataclass(slots=True)
class Desk:
    """Imports files into one project and looks at the result."""

    factory: Factory
    engine: AsyncEngine
    directory: Path

    @property
    def project(self) -> ProjectIdentity:
        return ProjectIdentity(ProjectSeq(self.factory.project_seq), self.factory.project_id, mask_credentials=False)

    def file(self, *lines: str, name: str = "contacts.csv", creates_topics: bool = True) -> ContactFile:
        path = self.directory / name
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return ContactFile(path, name, Layout(), creates_topics=creates_topics)

    async def bring_in(
        self, file: ContactFile, *, page_rows: int = 1_000, report: Report = nobody_watches
    ) -> StoredImport:
        return await import_contacts(self.engine, self.project, file, report=report, page_rows=page_rows)

    async def faults(self, done: StoredImport) -> dict[int, str]:
        return {fault.line: fault.reason for fault in await read_faults(self.engine, done.seq)}

    def ask(self, question: str) -> Rows:
        with self.factory.connect() as connection:
            return connection.execute(question.encode()).fetchall()

    def holdings(self) -> dict[str, Rows]:
        """Everything an import writes, without what only tells when."""
        assert self.ask(WRONG_TOTALS) == []
        return {"users": self.ask(USERS), "targets": self.ask(TARGETS), "subscriptions": self.ask(SUBSCRIPTIONS)}


@pytest.fixture
async def desk(settings: Settings, tmp_path: Path) -> AsyncIterator[Desk]:
    engine = create_engine(settings, role="test")
    yield Desk(Factory(settings), engine, tmp_path)
    await engine.dispose()


def people(numbers: Iterable[int], *, topics: str = "news") -> list[str]:
    """The lines of a file with one row for each number: two addresses each."""
    return [
        "user_id,name,email,push_token,topics",
        *(f"user-{n},Person {n},person{n}@example.com,token-{n},{topics}" for n in numbers),
    ]
