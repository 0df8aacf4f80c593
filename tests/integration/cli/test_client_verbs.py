"""The commands that call an API, and `tidings import`, as a terminal sees them."""

import asyncio
import io
import json
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deploy.embedded import choose_port
from shared.cli.connection import Connection, write_connection
from shared.cli.contacts import write_error_file
from shared.domain.contacts.rows import Fault
from shared.settings import Settings
from tests.factories import Factory
from tests.integration.api.conftest import Caller, make_caller, run_api
from tests.integration.cli.conftest import Finished, Tidings
from tests.processes import wait_until

DONE, FAILED, USAGE, PARTLY, NOT_REACHABLE = 0, 1, 2, 3, 4

CONTACTS = "user_id,name,email,topics\nanna,Anna,anna@example.com,news\nbob,Bob,bob@example.com,news\n"


@pytest.fixture
def caller(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """An API with a project, named by TIDINGS_API_* variables."""
    with run_api(settings.model_copy(update={"port": 0})) as running:
        caller = make_caller(running)
        monkeypatch.setenv("TIDINGS_API_ENDPOINT", caller.endpoint)
        monkeypatch.setenv("TIDINGS_API_PROJECT", caller.project_id)
        monkeypatch.setenv("TIDINGS_API_KEY", caller.key)
        # what the API's thread logs would stand between the lines of the command
        with caller.session, capture_logs():
            yield caller


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What stands before `|`."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


@contextmanager
def pipeline(caller: Caller, **counts: int) -> Iterator[None]:
    """Leaves the rows that the workers leave, once a message was accepted: planned first, then finished."""

    def deliver() -> None:
        wait_until(lambda: bool(caller.rows("SELECT run FROM message_progress")))
        with caller.factory.connect() as connection:
            connection.execute("UPDATE message_progress SET planned = %s, planned_at = now()", [sum(counts.values())])
            connection.execute(
                "UPDATE message_progress SET sent = %s, failed = %s, batches_left = 0, finished_at = now()",
                [counts.get("sent", 0), counts.get("failed", 0)],
            )
            connection.execute("UPDATE messages SET status = 'sent', delivered_at = now()")

    worker = threading.Thread(target=deliver)
    worker.start()
    yield
    worker.join()


def assert_said(finished: Finished, status: int, *words: str) -> None:
    """Nothing on stdout, the fault on stderr."""
    assert (finished.status, finished.stdout) == (status, "")
    assert "Error: " in finished.stderr
    assert all(word in finished.stderr for word in words), finished.stderr
    assert "Traceback" not in finished.stderr


@dataclass(frozen=True, slots=True)
class BusyApi:
    endpoint: str
    has_file: threading.Event


@pytest.fixture
def busy_api() -> Iterator[BusyApi]:
    """Knows no import, takes a file and does not answer before the test is over."""
    has_file, is_over = threading.Event(), threading.Event()

    class Imports(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b'{"type": "import_not_found", "message": "There is no import of this id."}')

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            has_file.set()
            is_over.wait()

        def log_message(self, *_details: object) -> None:
            pass  # it would write to stderr

    with ThreadingHTTPServer(("127.0.0.1", 0), Imports) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield BusyApi(f"http://127.0.0.1:{server.server_port}/v1", has_file)
        is_over.set()
        server.shutdown()


class TestImport:
    @pytest.fixture
    def contacts(self, tmp_path: Path) -> Path:
        path = tmp_path / "contacts.csv"
        path.write_text(CONTACTS)
        return path

    @pytest.fixture
    def factory(self, installation: Settings) -> Factory:
        return Factory(installation)

    def test_into_the_database(self, tidings: Tidings, factory: Factory, contacts: Path) -> None:
        finished = tidings("import", str(contacts), "--json")
        assert finished.status == DONE
        result = json.loads(finished.stdout)
        assert result.pop("seconds") > 0
        assert len(result.pop("id")) == 20
        assert result == {
            "rows": 2,
            "users_created": 2,
            "users_updated": 0,
            "topics_created": 1,
            "targets_created": 2,
            "subscriptions_created": 2,
            "bad_rows": 0,
            "faults_not_kept": 0,
            "imported_before": False,
            "error_file": None,
        }

    def test_bad_rows_are_in_the_error_file(self, tidings: Tidings, factory: Factory, contacts: Path) -> None:
        contacts.write_text(CONTACTS + "carl,Carl,broken@,news\n")
        finished = tidings("import", str(contacts))
        assert finished.status == PARTLY
        error_file = contacts.with_name("contacts.errors.csv")
        assert error_file.name in finished.stdout
        assert error_file.read_text().splitlines()[0] == "line,reason"
        assert error_file.read_text().splitlines()[1].startswith("4,email 'broken@'")

    @pytest.mark.parametrize("error_file", ["contacts.csv", ".", "nowhere/errors.csv", "../"])
    def test_an_error_file_that_cannot_be_is_refused_before_the_import(
        self, tidings: Tidings, factory: Factory, contacts: Path, error_file: str
    ) -> None:
        contacts.write_text(CONTACTS + "carl,Carl,broken@,news\n")
        finished = tidings("import", "contacts.csv", "--error-file", error_file)
        assert_said(finished, USAGE, "Bad rows cannot be listed", "Hint: ", "--error-file")
        assert contacts.read_text().startswith(CONTACTS)
        assert list(contacts.parent.iterdir()) == [contacts]
        with factory.connect() as connection:
            assert connection.execute("SELECT id FROM users").fetchall() == []

    def test_an_error_file_for_which_there_is_no_room(self, tidings: Tidings, factory: Factory, contacts: Path) -> None:
        contacts.write_text(CONTACTS + "carl,Carl,broken@,news\n")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            finished = tidings("import", str(contacts))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert_said(finished, FAILED, "File too large", "another --error-file")
        assert list(contacts.parent.iterdir()) == [contacts]

    def test_an_error_file_that_two_imports_write(self, tmp_path: Path) -> None:
        """Of the same contact file, at once: both come to their end."""
        is_written = asyncio.Event()

        async def read_page(after_line: int) -> list[Fault]:
            return [] if after_line else [Fault(4, "broken")]

        async def read_page_late(after_line: int) -> list[Fault]:
            await is_written.wait()
            return await read_page(after_line)

        async def write_both() -> None:
            slow = asyncio.create_task(write_error_file(tmp_path / "errors.csv", read_page_late))
            await asyncio.sleep(0)
            await write_error_file(tmp_path / "errors.csv", read_page)
            is_written.set()
            await slow

        asyncio.run(write_both())
        assert [path.name for path in tmp_path.iterdir()] == ["errors.csv"]
        assert (tmp_path / "errors.csv").read_text() == "line,reason\n4,broken\n"

    def test_a_file_again_says_so(self, tidings: Tidings, factory: Factory, contacts: Path) -> None:
        tidings("import", str(contacts))
        again = tidings("import", str(contacts))
        assert again.status == DONE
        assert "imported before" in again.stdout
        assert "Created 0 users, 0 targets, 0 subscriptions" in again.stdout

    def test_columns_of_other_names(self, tidings: Tidings, factory: Factory, contacts: Path) -> None:
        contacts.write_text("Mail\tRemark\nanna@example.com\thello\n")
        options = ("--map", "Mail=email", "--map", "Remark=ignore", "--delimiter", "\\t", "--json")
        assert json.loads(tidings("import", str(contacts), *options).stdout)["users_created"] == 1

    def test_what_a_spreadsheet_saved_as_it_is(self, tidings: Tidings, factory: Factory, contacts: Path) -> None:
        """UTF-16 with tabs, national numbers, columns of its own, and a topic for all of it."""
        rows = "Email\tPhone\tShoe size\njürgen@example.com\t0151 12345678\t43\n"
        contacts.write_text(rows, encoding="utf-16")
        options = ("--default-region", "de", "--ignore-unknown", "--topic", "news", "--json")
        finished = tidings("import", str(contacts), *options)
        result = json.loads(finished.stdout)
        assert (result["targets_created"], result["subscriptions_created"], result["bad_rows"]) == (2, 2, 0)
        assert "Columns read: 'Email' as email, 'Phone' as phone. Not read: 'Shoe size'." in finished.stderr
        with factory.connect() as connection:
            found = connection.execute("SELECT identifier FROM targets ORDER BY channel").fetchall()
        assert found == [("jürgen@example.com",), ("+4915112345678",)]

    def test_a_check_writes_nothing(self, tidings: Tidings, factory: Factory, contacts: Path) -> None:
        contacts.write_text(CONTACTS + "carl,Carl,broken@,news\n")
        finished = tidings("import", str(contacts), "--check")
        assert finished.status == PARTLY
        assert "Line 2: Anna anna@example.com → news" in finished.stdout
        assert "Read 3 rows: 2 good, with 2 e-mail addresses" in finished.stdout
        assert contacts.with_name("contacts.errors.csv").read_text().splitlines()[1].startswith("4,email 'broken@'")
        with factory.connect() as connection:
            assert connection.execute("SELECT FROM users").fetchall() == []
            assert connection.execute("SELECT FROM contact_imports").fetchall() == []

    def test_a_check_needs_no_database(self, tidings: Tidings, contacts: Path) -> None:
        finished = tidings("import", str(contacts), "--check", "--json")
        assert finished.status == DONE
        assert json.loads(finished.stdout) == {
            "rows": 2,
            "bad_rows": 0,
            "addresses": {"email": 2, "sms": 0, "push": 0},
            "error_file": None,
        }

    def test_topics_are_not_created_unasked(self, tidings: Tidings, factory: Factory, contacts: Path) -> None:
        assert tidings("import", str(contacts), "--no-create-topics").status == PARTLY

    @pytest.mark.parametrize("content", ["", "who,what\n1,2\n", 'email\n"anna@example.com\n'])
    def test_a_broken_file(self, tidings: Tidings, factory: Factory, contacts: Path, content: str) -> None:
        contacts.write_text(content)
        assert_said(tidings("import", str(contacts)), USAGE, "contacts.csv", "Nothing of it was imported")
        assert not contacts.with_name("contacts.errors.csv").exists()

    @pytest.mark.parametrize("arguments", [["no.csv"], ["."], ["contacts.csv", "--map", "email"]])
    def test_wrong_usage(self, tidings: Tidings, factory: Factory, contacts: Path, arguments: list[str]) -> None:
        assert_said(tidings("import", *arguments), USAGE)

    def test_no_database_and_no_api(self, tidings: Tidings, contacts: Path) -> None:
        assert_said(tidings("import", str(contacts)), USAGE, "TIDINGS_DATABASE_URL")

    def test_a_database_that_does_not_answer(
        self, tidings: Tidings, monkeypatch: pytest.MonkeyPatch, contacts: Path
    ) -> None:
        monkeypatch.setenv("TIDINGS_DATABASE_URL", f"postgresql://tidings:hush@127.0.0.1:{choose_port()}/tidings")
        finished = tidings("import", str(contacts))
        assert_said(finished, NOT_REACHABLE, "Connection refused")
        assert "hush" not in finished.stderr

    def test_a_database_that_was_never_migrated(
        self, tidings: Tidings, empty_database_url: str, monkeypatch: pytest.MonkeyPatch, contacts: Path
    ) -> None:
        monkeypatch.setenv("TIDINGS_DATABASE_URL", empty_database_url)
        assert_said(tidings("import", str(contacts)), USAGE, "tidings migrate")

    def test_through_an_api(self, tidings: Tidings, caller: Caller, contacts: Path) -> None:
        contacts.write_text(CONTACTS + "carl,Carl,anna@example.com,news\n")
        finished = tidings("import", str(contacts), "--json")
        assert finished.status == PARTLY
        result = json.loads(finished.stdout)
        assert (result["rows"], result["users_created"], result["bad_rows"]) == (3, 2, 1)
        assert "email 'anna@example.com' belongs to another user" in Path(result["error_file"]).read_text()
        assert caller.rows("SELECT id FROM users ORDER BY id") == [("anna",), ("bob",)]

    def test_a_wrong_key_is_told_before_the_file_is_sent(
        self, tidings: Tidings, caller: Caller, contacts: Path
    ) -> None:
        contacts.write_text(CONTACTS + "\n" * 10_000_000)  # more than the line holds
        assert_said(tidings("import", str(contacts), "--key", "standard_wrong"), FAILED, "no such key")

    def test_a_broken_file_through_an_api(self, tidings: Tidings, caller: Caller, contacts: Path) -> None:
        contacts.write_text("who,what\n")
        assert_said(tidings("import", str(contacts)), USAGE, "unknown columns: 'who', 'what'")

    def test_ctrl_c_does_not_wait_for_the_api(self, contacts: Path, busy_api: BusyApi) -> None:
        # told to hear it: a shell has what it runs in the background ignore Ctrl-C, and so these tests perhaps
        listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        run = f"{listen}; from shared.cli.main import run; run()"
        command = [sys.executable, "-P", "-c", run, "import", str(contacts)]
        access = ["--endpoint", busy_api.endpoint, "--project", "p", "--key", "k"]
        importing = subprocess.Popen([*command, *access], stderr=subprocess.PIPE, text=True)
        assert busy_api.has_file.wait(30)
        importing.send_signal(signal.SIGINT)
        _stdout, stderr = importing.communicate(timeout=30)  # the API has not answered yet
        assert importing.returncode == 128 + signal.SIGINT
        assert stderr.splitlines()[1] == "Stopped. The same command goes on from here."
        assert "Traceback" not in stderr


class TestSend:
    def test_an_email_with_a_piped_text(self, tidings: Tidings, caller: Caller, pipe: Callable[[str], None]) -> None:
        pipe("Hello from a pipe.\n")
        finished = tidings("send", "email", "--subject", "Hello", "--topic", "news", "--user", "anna", "--id", "first")
        assert (finished.status, finished.stdout) == (DONE, "first\n")
        assert "tidings messages watch first" in finished.stderr
        message = caller.get("/messaging/messages/first").body
        assert (message["status"], message["topics"], message["users"]) == ("processing", ["news"], ["anna"])
        assert message["data"]["content"] == "Hello from a pipe.\n"

    def test_a_push_with_every_flag(self, tidings: Tidings, caller: Caller) -> None:
        options = {
            "title": "Hello",
            "body": "There",
            "data": '{"page": "news"}',
            "action": "open",
            "icon": "bell",
            "sound": "ping",
            "color": "#ff0000",
            "tag": "news",
            "badge": "3",
            "priority": "normal",
            "topic": "news",
            "at": "2099-01-31T09:00:00+01:00",
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        finished = tidings("send", "push", *flags, "--json")
        assert finished.status == DONE
        message = json.loads(finished.stdout)
        assert (message["status"], message["scheduledAt"]) == ("scheduled", "2099-01-31T08:00:00.000+00:00")
        sent = {
            name: options[name] for name in ("title", "body", "action", "icon", "sound", "color", "tag", "priority")
        }
        assert message["data"] == {**sent, "data": {"page": "news"}, "badge": 3}

    def test_a_draft(self, tidings: Tidings, caller: Caller) -> None:
        message = json.loads(tidings("send", "push", "--title", "Hi", "--body", "x", "--draft", "--json").stdout)
        assert message["status"] == "draft"
        assert_said(tidings("messages", "watch", message["$id"]), FAILED, "is a draft")

    @pytest.mark.parametrize(
        ("counts", "status"), [({"sent": 10}, DONE), ({"sent": 9, "failed": 1}, PARTLY), ({"failed": 10}, FAILED)]
    )
    def test_waiting_tells_by_its_status_how_it_ended(
        self, tidings: Tidings, caller: Caller, counts: dict[str, int], status: int
    ) -> None:
        with pipeline(caller, **counts):
            finished = tidings(
                "send", "email", "--subject", "Hi", "--content", "x", "--topic", "news", "--wait", "--json"
            )
        assert finished.status == status
        result = json.loads(finished.stdout)
        assert {state: result["progress"][state] for state in counts} == counts
        assert "10 of 10" in finished.stderr
        assert "finished" in finished.stderr

    @pytest.mark.parametrize(
        "arguments",
        [
            ["email", "--subject", "Hi", "--content", "x", "--draft", "--wait"],
            ["push", "--title", "Hi", "--body", "x", "--data", "{"],
            ["push", "--title", "Hi", "--body", "x", "--data", "[]"],
        ],
    )
    def test_wrong_usage(self, tidings: Tidings, caller: Caller, arguments: list[str]) -> None:
        assert_said(tidings("send", *arguments), USAGE)
        assert caller.rows("SELECT id FROM messages") == []

    def test_what_the_api_refuses(self, tidings: Tidings, caller: Caller) -> None:
        assert_said(tidings("send", "email", "--subject", "Hi", "--content", "x"), FAILED)

    def test_a_text_that_is_not_utf_8(self, tidings: Tidings, caller: Caller, pipe: Callable[[str], None]) -> None:
        pipe("caf\udce9")  # as Python reads other bytes
        assert_said(tidings("send", "email", "--subject", "Hi", "--topic", "news"), USAGE, "not UTF-8", "Hint: ")
        assert caller.rows("SELECT id FROM messages") == []

    def test_no_prompt_for_a_text(self, tidings: Tidings, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", terminal)
        assert_said(tidings("send", "email", "--subject", "Hi", "--topic", "news"), USAGE, "--content")


class TestMessages:
    def test_list(self, tidings: Tidings, caller: Caller) -> None:
        for number in range(3):
            caller.create_email(f"m{number}", subject=f"Subject {number}", topics=["news"], draft=number == 0)
        listed = tidings("messages", "list")
        assert listed.status == DONE
        assert [line.split()[0] for line in listed.stdout.splitlines()] == ["ID", "m2", "m1", "m0"]
        drafts = json.loads(tidings("messages", "list", "--status", "draft", "--json").stdout)
        assert [message["$id"] for message in drafts["messages"]] == ["m0"]
        assert len(json.loads(tidings("messages", "list", "--limit", "2", "--json").stdout)["messages"]) == 2

    def test_show(self, tidings: Tidings, caller: Caller) -> None:
        caller.create_email("m1", subject="Spring is here", topics=["news"])
        with pipeline(caller, sent=9, failed=1):
            pass
        shown = tidings("messages", "show", "m1")
        assert shown.status == DONE
        assert "Spring is here" in shown.stdout
        assert "10 of 10: 9 sent, 1 failed" in shown.stdout
        assert json.loads(tidings("messages", "show", "m1", "--json").stdout)["progress"]["failed"] == 1

    def test_show_a_text_message(self, tidings: Tidings, caller: Caller) -> None:
        caller.create("/messaging/messages/sms", {"messageId": "m1", "content": "Привет!" * 11, "draft": True})
        shown = tidings("messages", "show", "m1")
        assert "2 each (77 units of UCS-2)" in shown.stdout

    def test_watch_several(self, tidings: Tidings, caller: Caller) -> None:
        for message_id in ("m1", "m2"):
            caller.create_email(message_id, topics=["news"])
        with pipeline(caller, sent=10):
            finished = tidings("messages", "watch", "m1", "m2", "--json")
        assert finished.status == DONE
        assert {message_id: counts["sent"] for message_id, counts in json.loads(finished.stdout).items()} == {
            "m1": 10,
            "m2": 10,
        }

    @pytest.mark.parametrize("verb", ["show", "watch"])
    def test_an_unknown_message(self, tidings: Tidings, caller: Caller, verb: str) -> None:
        assert_said(tidings("messages", verb, "nothing"), FAILED, "no message", "Hint: ", "tidings messages list")

    @pytest.mark.parametrize("verb", ["show", "watch"])
    @pytest.mark.parametrize("message_id", ["m1/logs", "..", "", "caf\udce9"])
    def test_an_id_that_is_none(self, tidings: Tidings, caller: Caller, verb: str, message_id: str) -> None:
        """Though as a path it may lead somewhere."""
        caller.factory.message("m1", channel="email")
        assert_said(tidings("messages", verb, message_id), USAGE, "cannot be the id", "Hint: ")


class TestAccess:
    @pytest.fixture
    def web_page(self) -> Iterator[str]:
        """The address of something that is no API."""

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<html>Welcome</html>")

            def log_message(self, *_details: object) -> None:
                pass  # it would write to stderr

        with HTTPServer(("127.0.0.1", 0), Page) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()

    def test_none_is_known(self, tidings: Tidings) -> None:
        assert_said(tidings("messages", "list"), USAGE, "No API to call is known")

    def test_what_up_left_is_taken(
        self, tidings: Tidings, caller: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("ENDPOINT", "PROJECT", "KEY"):
            monkeypatch.delenv(f"TIDINGS_API_{name}")
        (tmp_path / ".tidings").mkdir()
        write_connection(tmp_path / ".tidings", Connection(caller.endpoint, caller.project_id, caller.key, console=""))
        assert tidings("messages", "list").status == DONE

    def test_the_key_of_up_goes_nowhere_else(self, tidings: Tidings, tmp_path: Path) -> None:
        (tmp_path / ".tidings").mkdir()
        write_connection(tmp_path / ".tidings", Connection("http://127.0.0.1:1/v1", "p", "secret", console=""))
        finished = tidings("messages", "list", "--endpoint", "http://127.0.0.1:2/v1")
        assert_said(finished, USAGE, "needs a project and a key")

    def test_flags_outrank_settings(self, tidings: Tidings, caller: Caller) -> None:
        assert_said(tidings("messages", "list", "--key", "standard_wrong"), FAILED)

    @pytest.mark.parametrize(
        "endpoint",
        [
            "127.0.0.1:8090/v1",
            "ftp://127.0.0.1/v1",
            "http:///v1",
            "http://[::1/v1",
            "http://127.0.0.1:99999/v1",
            "http://127.0.0.1:port/v1",
            "http://two words/v1",
            "http://127.0.0.1/v 1",
            f"http://{'long' * 20}.example/v1",
        ],
    )
    def test_an_address_that_is_none(self, tidings: Tidings, endpoint: str) -> None:
        access = ("--endpoint", endpoint, "--project", "p", "--key", "k")
        assert_said(tidings("messages", "list", *access), USAGE, "no address of an API")

    @pytest.mark.parametrize(("name", "text"), [("key", "hush\n"), ("key", "hush✓"), ("project", "a b")])
    def test_a_key_or_project_that_is_none(self, tidings: Tidings, caller: Caller, name: str, text: str) -> None:
        finished = tidings("messages", "list", f"--{name}", text)
        assert_said(finished, USAGE, f"The {name} has characters", "Hint: ", f"TIDINGS_API_{name.upper()}")
        assert "hush" not in finished.stderr

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--key", "standard_wrong"], ("no such key", "tidings key list")),
            (["--project", "nobodys"], ("no project `nobodys`", "tidings project list")),
        ],
    )
    def test_a_refusal_comes_with_what_to_do(
        self, tidings: Tidings, caller: Caller, options: list[str], words: tuple[str, ...]
    ) -> None:
        assert_said(tidings("messages", "list", *options), FAILED, "Hint: ", *words)

    def test_a_key_without_the_scope(self, tidings: Tidings, caller: Caller) -> None:
        with caller.factory.connect() as connection:
            connection.execute("UPDATE api_keys SET scopes = '{topics.read}'")
        assert_said(tidings("messages", "list"), FAILED, "messages.read", "Hint: ", "key create --scope")

    def test_an_api_that_does_not_answer(self, tidings: Tidings) -> None:
        access = ("--endpoint", f"http://127.0.0.1:{choose_port()}/v1", "--project", "p", "--key", "hush")
        finished = tidings("messages", "list", *access)
        assert_said(finished, NOT_REACHABLE, "Connection refused")
        assert "hush" not in finished.stderr

    def test_an_address_of_something_else(self, tidings: Tidings, web_page: str) -> None:
        access = ("--endpoint", web_page, "--project", "p", "--key", "k")
        assert_said(tidings("messages", "list", *access), FAILED, "something that is not JSON", "/v1 at its end")


def test_addresses_are_suppressed_and_used_again(tidings: Tidings, caller: Caller) -> None:
    added = tidings("suppressions", "add", "email", "Ada@example.com", "--reason", "asked us")
    again = tidings("suppressions", "add", "email", "ada@example.com")
    (listed,) = json.loads(tidings("suppressions", "list", "--json").stdout)
    assert added.status == DONE
    assert (again.status, "suppressed already" in again.stderr) == (FAILED, True)
    assert (listed["address"], listed["channel"], listed["cause"], listed["reason"]) == (
        "ada@example.com",
        "email",
        "manual",
        "asked us",
    )
    assert "ada@example.com" in tidings("suppressions", "list").stdout

    removed = tidings("suppressions", "remove", "email", "ADA@example.com")
    missing = tidings("suppressions", "remove", "email", "ada@example.com")
    assert removed.status == DONE
    assert (missing.status, "not suppressed" in missing.stderr) == (FAILED, True)
    assert json.loads(tidings("suppressions", "list", "--json").stdout) == []


def test_what_becomes_of_an_address_as_json(tidings: Tidings, caller: Caller) -> None:
    added = json.loads(tidings("suppressions", "add", "email", "Ada@example.com", "--json").stdout)
    assert (added["address"], added["channel"]) == ("ada@example.com", "email")
    removed = json.loads(tidings("suppressions", "remove", "email", "ada@example.com", "--json").stdout)
    assert removed == {"channel": "email", "address": "ada@example.com"}


def test_a_wrong_channel_is_told(tidings: Tidings, caller: Caller) -> None:
    refused = tidings("suppressions", "add", "push", "token")
    assert refused.status == FAILED
    assert "channel" in refused.stderr
