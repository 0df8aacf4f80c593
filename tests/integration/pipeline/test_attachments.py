"""Attachments on their way to an adapter: read once, kept within a cap; what is wrong with them ends the message."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.errors import NotReachable
from shared.files.contents import FileContents
from shared.files.objects import open_object_store
from shared.providers.contract import ContentFile
from shared.settings import Settings
from tests.integration.pipeline.conftest import Bench
from tests.integration.pipeline.worker import Provider, working
from tests.s3_server import EVERYTHING, Bucket, object_settings, serve_bucket
from workers.attachments import LIMIT_BYTES, Attachments, AttachmentsRefused


def store(bench: Bench, file_id: str, *chunks: bytes, size: int | None = None) -> int:
    """The file's seq."""
    project_seq = bench.factory.project_seq
    bench.do(
        "INSERT INTO buckets (project_seq, id, name, permissions, file_security, enabled, maximum_file_size,"
        " allowed_file_extensions, compression, encryption, antivirus, transformations)"
        " VALUES (%s, 'docs', 'Docs', '{}', false, true, 1, '{}', 'none', true, true, true) ON CONFLICT DO NOTHING",
        project_seq,
    )
    ((seq,),) = bench.ask(
        "INSERT INTO files (project_seq, bucket_seq, id, name, uploader, mime_type, permissions, size, chunks_total,"
        " chunks_uploaded, signature) SELECT project_seq, seq, %s, %s, '', 'text/plain', '{}', %s, %s, %s, %s"
        " FROM buckets WHERE project_seq = %s RETURNING seq",
        *(file_id, f"{file_id}.txt", size or sum(map(len, chunks)), len(chunks), len(chunks)),
        *(hashlib.md5(b"".join(chunks), usedforsecurity=False).hexdigest(), project_seq),
    )
    for number, chunk in enumerate(chunks):
        bench.do("INSERT INTO file_chunks (file_seq, number, content) VALUES (%s, %s, %s)", seq, number, chunk)
    return int(seq)


def named(*file_ids: str) -> dict[str, object]:
    return {"attachments": [{"bucketId": "docs", "fileId": file_id} for file_id in file_ids]}


class CountedContents(FileContents):
    """Says how often a whole file was read."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine, None)
        self.reads = 0

    async def read_whole(self, file_seq: int, chunks_total: int) -> bytes | None:
        self.reads += 1
        return await super().read_whole(file_seq, chunks_total)


async def load(bench: Bench, attachments: Attachments, data: dict[str, object]) -> tuple[ContentFile, ...]:
    async with attachments.held(bench.factory.project_seq, bench.provider_seq, data) as files:
        return files


@pytest.fixture
def contents(bench: Bench) -> CountedContents:
    return CountedContents(bench.engine)


async def test_files_come_in_the_order_in_which_they_are_named(bench: Bench, contents: CountedContents) -> None:
    store(bench, "long", b"one ", b"two")
    store(bench, "short", b"x")
    files = await load(bench, Attachments(bench.engine, contents), named("short", "long"))
    assert [(file.name, file.mime_type, file.content) for file in files] == [
        ("short.txt", "text/plain", b"x"),
        ("long.txt", "text/plain", b"one two"),
    ]


async def test_equal_files_are_read_once(bench: Bench, contents: CountedContents) -> None:
    store(bench, "one", b"same")
    store(bench, "two", b"same")
    attachments = Attachments(bench.engine, contents)
    first = await load(bench, attachments, named("one", "one"))
    second = await load(bench, attachments, named("two"))
    assert contents.reads == 1
    assert [file.name for file in (*first, *second)] == ["one.txt", "one.txt", "two.txt"]
    assert second[0].content is first[0].content


async def test_batches_that_ask_at_the_same_time_share_one_reading(bench: Bench, contents: CountedContents) -> None:
    store(bench, "one", b"same")
    attachments = Attachments(bench.engine, contents)
    loads = [load(bench, attachments, named("one")) for _ in range(4)]
    loaded = await asyncio.gather(*loads)
    assert [file.content for (file,) in loaded] == [b"same"] * 4
    assert contents.reads == 1


async def test_no_more_is_kept_than_the_cap(bench: Bench, contents: CountedContents) -> None:
    for name in "abc":
        store(bench, name, name.encode() * 10)
    attachments = Attachments(bench.engine, contents, kept_bytes=20)
    for name in ("a", "b", "a", "c"):  # c takes the place of b, which was used before a
        await load(bench, attachments, named(name))
    assert contents.reads == 3
    await load(bench, attachments, named("c"))
    await load(bench, attachments, named("a"))
    assert contents.reads == 3
    await load(bench, attachments, named("b"))
    assert contents.reads == 4
    assert sum(map(len, attachments._kept.values())) == attachments._kept_bytes == 20


async def test_a_file_larger_than_the_cap_is_sent_and_not_kept(bench: Bench, contents: CountedContents) -> None:
    store(bench, "large", b"x" * 21)
    attachments = Attachments(bench.engine, contents, kept_bytes=20)
    assert [file.content for file in await load(bench, attachments, named("large"))] == [b"x" * 21]
    assert attachments._kept == {}


async def test_files_of_another_project_are_none_of_ours(bench: Bench, contents: CountedContents) -> None:
    store(bench, "one", b"same")
    attachments = Attachments(bench.engine, contents)
    await load(bench, attachments, named("one"))
    with pytest.raises(AttachmentsRefused, match="docs:one is gone"):
        async with attachments.held(bench.factory.project_seq + 1, bench.provider_seq, named("one")):
            pass


async def test_what_is_gone_or_too_large_is_refused(bench: Bench, contents: CountedContents) -> None:
    store(bench, "huge", b"x", size=LIMIT_BYTES)
    store(bench, "more", b"x", size=1)
    attachments = Attachments(bench.engine, contents)
    with pytest.raises(AttachmentsRefused, match="the attachment docs:gone is gone"):
        await load(bench, attachments, named("more", "gone"))
    with pytest.raises(AttachmentsRefused, match="larger than 25 MB together"):
        await load(bench, attachments, named("huge", "more"))


async def test_batches_under_way_hold_no_more_than_there_is_room_for(bench: Bench, contents: CountedContents) -> None:
    for name in "abc":
        store(bench, name, name.encode() * 10)
    attachments = Attachments(bench.engine, contents, kept_bytes=0, room_bytes=27)
    project_seq = bench.factory.project_seq

    async with attachments.held(project_seq, 11, named("a")):
        async with attachments.held(project_seq, 12, named("b")):
            third = asyncio.create_task(load(bench, attachments, named("c")))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), attachments.held(project_seq, 13, named("c")):
                    pass
            assert contents.reads == 2
        assert [file.content for file in await third] == [b"c" * 10]
    # whoever gave up or failed has left its room
    with pytest.raises(AttachmentsRefused):
        await load(bench, attachments, named("gone"))
    async with asyncio.timeout(1), attachments.held(project_seq, 1, named("a", "b")):
        pass


async def test_an_account_whose_server_is_silent_leaves_room_to_others(bench: Bench, contents: CountedContents) -> None:
    for name in "abc":
        store(bench, name, name.encode() * 10)
    attachments = Attachments(bench.engine, contents, kept_bytes=0, room_bytes=40)
    project_seq, silent, other = bench.factory.project_seq, 1, 2

    async with attachments.held(project_seq, silent, named("a")):
        waiting = asyncio.create_task(_hold(attachments.held(project_seq, silent, named("b"))))
        async with asyncio.timeout(1), attachments.held(project_seq, other, named("c")):
            assert not waiting.done()
    await waiting


async def _hold(held: AbstractAsyncContextManager[object]) -> None:
    async with held:
        pass


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serve_bucket() as bucket:
        yield bucket


async def test_a_storage_that_is_away_makes_nobody_give_up(bench: Bench, bucket: Bucket) -> None:
    seq = store(bench, "one", b"same")
    bench.do("UPDATE file_chunks SET content = NULL, object_key = 'key' WHERE file_seq = %s", seq)
    bucket.objects["files/key"] = b"same"
    contents = FileContents(bench.engine, open_object_store(Settings(**object_settings(bucket))))
    attachments = Attachments(bench.engine, contents)

    bucket.away = EVERYTHING
    with pytest.raises(NotReachable):
        await load(bench, attachments, named("one"))
    bucket.away = frozenset()
    assert [file.content for file in await load(bench, attachments, named("one"))] == [b"same"]


async def test_an_object_that_the_storage_lost_is_no_deleted_file(bench: Bench, bucket: Bucket) -> None:
    seq = store(bench, "one", b"same")
    bench.do("UPDATE file_chunks SET content = NULL, object_key = 'key' WHERE file_seq = %s", seq)
    contents = FileContents(bench.engine, open_object_store(Settings(**object_settings(bucket))))
    with pytest.raises(NotReachable, match="has lost the content"):
        await contents.read_whole(seq, 1)
    with pytest.raises(NotReachable, match="TIDINGS_FILES_URL is not set"):
        await FileContents(bench.engine, None).read_whole(seq, 1)


async def test_recipients_wait_for_the_storage_and_fail_for_a_missing_file(bench: Bench, bucket: Bucket) -> None:
    """Waiting costs no attempt; the reason of a failure is told."""
    bench.factory.provider("smtp", "smtp", credentials={"host": "mail.example.com"})
    bench.factory.audience(1, channel="email")
    seq = store(bench, "one", b"same")
    bench.do("UPDATE file_chunks SET content = NULL, object_key = 'key' WHERE file_seq = %s", seq)
    data = {"subject": "Hello", "content": "Hello", **named("one")}
    run = bench.factory.message("mail", channel="email", users=["person-1"], data=data)
    await bench.plan()
    provider = Provider()
    contents = FileContents(bench.engine, open_object_store(Settings(**object_settings(bucket))))

    async with working(bench, provider, contents=contents) as worker:
        bucket.away = EVERYTHING
        await worker.deliver_due("email.smtp.bulk")
        waiting = bench.ask("SELECT state, attempt, due_at > now() + interval '10 s', token FROM batches")
        assert waiting == [("due", 1, True, None)]

        bench.do("DELETE FROM files")
        bench.do("UPDATE batches SET due_at = now()")
        await worker.deliver_due("email.smtp.bulk")

    assert provider.asked == []
    assert bench.states(run) == {"failed": 1}
    assert bench.ask("SELECT reason FROM deliveries") == [("the attachment docs:one is gone",)]
