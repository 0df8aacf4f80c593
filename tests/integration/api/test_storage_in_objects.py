"""Files in object storage: whatever dies or does not answer, no object is left behind and nothing half done is seen."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import requests
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from scheduler.context import TickContext
from scheduler.files import purge_uploads, remove_objects
from shared.db.models import StoredFile
from shared.db.queries.chunks import CHUNK_BYTES, add_chunk
from shared.db.session import create_engine, create_sessions
from shared.errors import NotReachable
from shared.files.contents import FileContents
from shared.files.objects import open_object_store
from shared.queue.rings import Ringer
from shared.settings import Settings
from tests.integration.api.conftest import Caller, RunningApi, make_caller
from tests.integration.api.test_storage import FILES, PNG, create_bucket, form_of, send_chunk, upload
from tests.s3_server import EVERYTHING, Bucket


@pytest.fixture
def caller(api_with_objects: RunningApi, objects: Bucket) -> Iterator[Caller]:
    """A caller with a bucket; nobody else's objects are in the storage."""
    caller = make_caller(api_with_objects)
    with caller.session:
        caller.rows("DELETE FROM loose_objects RETURNING key")
        objects.objects.clear()
        create_bucket(caller)
        yield caller
    objects.away = frozenset()


@pytest.fixture
async def engine(api_with_objects: RunningApi) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(api_with_objects.settings, role="test", pool_size=1)
    yield engine
    await engine.dispose()


async def sweep(engine: AsyncEngine, settings: Settings) -> None:
    """What the scheduler does from time to time."""
    context = TickContext(engine, settings, Ringer(settings), open_object_store(settings))
    await purge_uploads(context)
    await remove_objects(context)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_deleted_files_leave_no_object(caller: Caller, objects: Bucket, engine: AsyncEngine) -> None:
    upload(caller, "small")
    upload(caller, "large", os.urandom(CHUNK_BYTES + 1))
    assert len(objects.objects) == 3
    caller.delete(f"{FILES}/large")
    await sweep(engine, caller.factory.settings)
    assert list(objects.objects.values()) == [PNG]
    caller.delete("/storage/buckets/photos")
    await sweep(engine, caller.factory.settings)
    assert objects.objects == {}
    assert caller.rows("SELECT key FROM loose_objects") == []


def test_the_image_of_a_push_message(caller: Caller, objects: Bucket) -> None:
    upload(caller, "logo")
    message = caller.create_push(draft=True, image="photos:logo")
    url = message["data"]["image"]["url"]
    answer = requests.get(url, timeout=10)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PNG, "image/png")
    part = requests.get(url, headers={"Range": "bytes=1-3"}, timeout=10)
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"PNG", f"bytes 1-3/{len(PNG)}")
    objects.away = EVERYTHING
    assert requests.get(url, timeout=10).status_code == 503


async def test_an_upload_that_nobody_goes_on_with_is_forgotten(
    caller: Caller, objects: Bucket, engine: AsyncEngine
) -> None:
    file_id = send_chunk(caller, os.urandom(2 * CHUNK_BYTES), 0).body["$id"]
    upload(caller, "whole")
    await sweep(engine, caller.factory.settings)
    assert len(objects.objects) == 2, "somebody may still go on"
    caller.rows("UPDATE files SET updated_at = now() - interval '25 hours' RETURNING seq")
    await sweep(engine, caller.factory.settings)
    assert caller.get(f"{FILES}/{file_id}").refusal == (404, "storage_file_not_found")
    assert list(objects.objects.values()) == [PNG]


async def test_a_storage_that_is_away(caller: Caller, objects: Bucket, engine: AsyncEngine) -> None:
    upload(caller, "before")
    objects.away = EVERYTHING
    for answer in (
        caller("POST", FILES, **form_of("during", PNG, "a.png")),
        caller.get(f"{FILES}/before/view"),
    ):
        assert answer.refusal == (503, "general_storage_unavailable")
        assert answer.headers["retry-after"] == "1"
    assert caller.get(f"{FILES}/during").refusal == (404, "storage_file_not_found")
    assert caller.delete(f"{FILES}/before").status == 204
    await sweep(engine, caller.factory.settings)
    assert len(objects.objects) == 1, "it is tried again"

    objects.away = frozenset()
    await sweep(engine, caller.factory.settings)
    assert objects.objects == {}
    assert upload(caller, "during")["chunksUploaded"] == 1


def test_a_last_chunk_may_be_brought_again_where_the_others_could_not_be_read(caller: Caller, objects: Bucket) -> None:
    content = os.urandom(CHUNK_BYTES + 1)
    file_id = send_chunk(caller, content, 0).body["$id"]
    objects.away = frozenset({"GET"})
    assert send_chunk(caller, content, 1, file_id=file_id).refusal == (503, "general_storage_unavailable")
    assert caller.get(f"{FILES}/{file_id}").body["chunksUploaded"] == 1, "not complete before its content was read"
    objects.away = frozenset()
    assert send_chunk(caller, content, 1, file_id=file_id).body["chunksUploaded"] == 2
    assert caller.get(f"{FILES}/{file_id}/view").body == content
    assert len(objects.objects) == 2, "what is there is not written again"


async def test_a_death_between_an_object_and_its_row(caller: Caller, objects: Bucket, engine: AsyncEngine) -> None:
    """The object was announced before it was written; it goes when no upload can want it any more."""
    settings = caller.factory.settings
    await FileContents(engine, open_object_store(settings)).keep(range(1), _once(PNG))
    await sweep(engine, settings)
    assert list(objects.objects.values()) == [PNG], "its row may still come"
    caller.rows("UPDATE loose_objects SET due_at = now() RETURNING key")
    await sweep(engine, settings)
    assert objects.objects == {}


async def test_an_object_that_is_about_to_go_is_not_taken_over(caller: Caller, engine: AsyncEngine) -> None:
    upload(caller, "logo")
    pieces = await FileContents(engine, open_object_store(caller.factory.settings)).keep(range(1, 2), _once(PNG))
    caller.rows("UPDATE loose_objects SET due_at = now() + interval '30 s' RETURNING key")
    async with create_sessions(engine)() as session:
        file = (await session.scalars(select(StoredFile).order_by(StoredFile.seq.desc()).limit(1))).one()
        with pytest.raises(NotReachable, match="given up"):
            await add_chunk(session, file, await anext(pieces))


async def test_files_stay_where_they_were_put(caller: Caller, running_api: RunningApi) -> None:
    """Another setting is for new files: one without object storage cannot read what lies there."""
    upload(caller, "there")
    elsewhere = Caller(running_api.endpoint, caller.project_id, caller.key, caller.factory, caller.session)
    upload(elsewhere, "here")
    assert caller.get(f"{FILES}/here/view").body == PNG
    assert caller.get(f"{FILES}/there/view").body == PNG
    assert elsewhere.get(f"{FILES}/here/view").body == PNG
    assert elsewhere.get(f"{FILES}/there/view").refusal == (503, "general_storage_unavailable")
    caller.delete("/storage/buckets/photos")
    assert caller.rows("SELECT count(*) FROM loose_objects") == [(1,)]
