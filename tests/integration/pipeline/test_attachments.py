"""Attachments on their way to an adapter: loaded with the claim, and what is wrong with them ends the message."""

from shared.domain.clock import DatabaseClock
from tests.integration.pipeline.conftest import LEASE_SECONDS, Bench
from workers.attachments import LIMIT_BYTES
from workers.batch import OpenBatch
from workers.claim import Claimer

QUEUE = "email.smtp.bulk"


def store(bench: Bench, file_id: str, *chunks: bytes, size: int | None = None) -> None:
    project_seq = bench.factory.project_seq
    bench.do(
        "INSERT INTO buckets (project_seq, id, name, permissions, file_security, enabled, maximum_file_size,"
        " allowed_file_extensions, compression, encryption, antivirus, transformations)"
        " VALUES (%s, 'docs', 'Docs', '{}', false, true, 1, '{}', 'none', true, true, true) ON CONFLICT DO NOTHING",
        project_seq,
    )
    ((seq,),) = bench.ask(
        "INSERT INTO files (project_seq, bucket_seq, id, name, uploader, mime_type, permissions, size, chunks_total,"
        " chunks_uploaded) SELECT project_seq, seq, %s, %s, '', 'text/plain', '{}', %s, %s, %s FROM buckets"
        " WHERE project_seq = %s RETURNING seq",
        *(file_id, f"{file_id}.txt", size or sum(map(len, chunks)), len(chunks), len(chunks), project_seq),
    )
    for number, chunk in enumerate(chunks):
        bench.do("INSERT INTO file_chunks (file_seq, number, content) VALUES (%s, %s, %s)", seq, number, chunk)


async def claim_mail(bench: Bench, *files: str) -> list[OpenBatch]:
    """The two batches of a mail to two people that names these files."""
    bench.factory.provider("smtp", "smtp", credentials={"host": "mail.example.com"})
    bench.factory.audience(2, channel="email")
    named = [{"bucketId": "docs", "fileId": file_id} for file_id in files]
    data: dict[str, object] = {"subject": "Hello", "content": "Hello", "attachments": named}
    bench.factory.message("mail", channel="email", users=["person-1", "person-2"], data=data)
    await bench.plan(batch_size=1)
    claimer = Claimer(bench.engine, DatabaseClock(), lease_seconds=LEASE_SECONDS)
    return [*await claimer.claim(QUEUE, turns=1), *await claimer.claim(QUEUE, turns=1)]


async def test_all_batches_of_a_message_carry_the_same_bytes(bench: Bench) -> None:
    store(bench, "long", b"one ", b"two")
    store(bench, "short", b"x")
    first, second = await claim_mail(bench, "long", "short")
    files = [(file.name, file.mime_type, file.content) for file in first.content.files]
    assert files == [("long.txt", "text/plain", b"one two"), ("short.txt", "text/plain", b"x")]
    assert first.fault is None
    assert [file.content for file in second.content.files] == [b"one two", b"x"]
    assert second.content.files[0].content is first.content.files[0].content, "loaded once"


async def test_a_file_that_is_gone_fails_the_message(bench: Bench) -> None:
    batches = await claim_mail(bench, "gone")
    assert [batch.fault for batch in batches] == ["the attachment docs:gone is gone"] * 2


async def test_too_much_fails_the_message_before_it_is_read(bench: Bench) -> None:
    store(bench, "huge", b"x", size=LIMIT_BYTES)
    store(bench, "more", b"x", size=1)
    batches = await claim_mail(bench, "huge", "more")
    assert [batch.fault for batch in batches] == ["the attachments are larger than 25 MB together"] * 2
