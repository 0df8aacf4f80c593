"""`tidings import --endpoint`: the file goes to an API, which imports it; its progress is asked for meanwhile."""

import asyncio
import contextlib
from concurrent.futures import Future
from threading import Thread
from typing import Any

from shared.cli.client import Client
from shared.db.queries.contacts.run import ContactFile, Report
from shared.domain.contacts.header import UnreadableFile
from shared.domain.contacts.progress import ImportProgress, ImportState
from shared.domain.contacts.rows import Fault
from shared.errors import NotReachable, RejectedRequest

IMPORTS = "/tidings/imports"
POLL_SECONDS = 0.5


async def import_over_http(client: Client, file: ContactFile, *, report: Report) -> ImportProgress:
    """The finished import. Raises UnreadableFile as the API does."""
    import_id = await asyncio.to_thread(file.fingerprint)
    await asyncio.to_thread(_find_import, client, import_id)  # a wrong key is told before the file is sent
    upload = asyncio.wrap_future(_start_upload(client, file))
    size = file.path.stat().st_size
    while not upload.done():
        await asyncio.wait({upload}, timeout=POLL_SECONDS)
        with contextlib.suppress(NotReachable):  # the upload itself tells what is wrong
            progress = await asyncio.to_thread(_find_import, client, import_id)
            if progress and progress.state is not ImportState.FINISHED:  # finished: an earlier pass
                report(progress, size)
    return await upload


def _start_upload(client: Client, file: ContactFile) -> Future[ImportProgress]:
    """In a thread that nobody waits for: the API answers when all is merged, and Ctrl-C would last as long."""
    uploaded: Future[ImportProgress] = Future()
    uploaded.set_running_or_notify_cancel()  # from here on it cannot be cancelled, only left alone

    def upload() -> None:
        try:
            uploaded.set_result(_upload(client, file))
        except BaseException as error:  # noqa: BLE001  # whoever waits for the upload gets it
            uploaded.set_exception(error)

    Thread(target=upload, daemon=True).start()
    return uploaded


def _upload(client: Client, file: ContactFile) -> ImportProgress:
    parameters = [("fileName", file.name), ("createTopics", str(file.creates_topics).lower())]
    if file.layout.delimiter:
        parameters.append(("delimiter", file.layout.delimiter))
    if file.layout.encoding:
        parameters.append(("encoding", file.layout.encoding))
    if file.layout.region:
        parameters.append(("region", file.layout.region))
    if file.layout.ignores_unknown:
        parameters.append(("ignoreUnknown", "true"))
    parameters += [("topics[]", topic) for topic in file.layout.topics]
    parameters += [(f"fields[{column}]", name) for column, name in file.layout.fields.items()]
    with file.path.open("rb") as content:
        try:
            answer = client.upload(IMPORTS, content, size=file.path.stat().st_size, parameters=parameters)
        except RejectedRequest as error:
            if error.type == "general_argument_invalid":
                raise UnreadableFile(error.message) from error
            raise
    return _read_progress(answer)


def _find_import(client: Client, import_id: str) -> ImportProgress | None:
    """None: it has not begun."""
    try:
        return _read_progress(client.get(f"{IMPORTS}/{import_id}"))
    except RejectedRequest as error:
        if error.type == "import_not_found":
            return None
        raise


def _read_progress(wire: dict[str, Any]) -> ImportProgress:
    return ImportProgress(
        id=wire["$id"],
        state=ImportState(wire["state"]),
        staged_to=wire["stagedTo"],
        merged_to=wire["mergedTo"],
        rows_total=wire["rows"],
        bad_total=wire["badRows"],
        faults_kept=wire["badRows"] - wire.get("faultsNotKept", 0),  # a server from before kept all
        users_created=wire["usersCreated"],
        users_updated=wire["usersUpdated"],
        topics_created=wire["topicsCreated"],
        targets_created=wire["targetsCreated"],
        subscriptions_created=wire["subscriptionsCreated"],
        is_repeated=wire["isRepeated"],
    )


def fetch_faults(client: Client, import_id: str, after_line: int) -> list[Fault]:
    """The next page of rows that were not merged; empty after the last."""
    answer = client.get(f"{IMPORTS}/{import_id}/faults", [("afterLine", str(after_line))])
    return [Fault(fault["line"], fault["reason"]) for fault in answer["faults"]]
