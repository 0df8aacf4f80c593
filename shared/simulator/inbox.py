"""The simulator's own HTTP API: what was captured, counts, fault profiles, service accounts, and the inbox page."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from ipaddress import ip_address
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from shared.errors import ConfigurationError
from shared.simulator.faults import Faults
from shared.simulator.http_provider import HttpProvider
from shared.simulator.inbox_message import render_message
from shared.simulator.inbox_page import Listing, render_list
from shared.simulator.mail_view import view_mail
from shared.simulator.record import Entry, Record
from shared.simulator.service_accounts import ServiceAccounts
from shared.simulator.wire.exchange import HTML, Reply, Request

DEFAULT_PROJECT = "tidings-simulator"
DEFAULT_LIMIT = 100
SEARCHED_BODIES = 1_000
"""A search reads so many of the newest messages whole; of others it knows recipient and title."""
LARGEST_LIMIT = 1000

_PAGE_HEADERS = (
    # What was captured is foreign content: it may neither run nor load anything.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Inbox:
    def __init__(
        self,
        record: Record,
        faults: Faults,
        accounts: ServiceAccounts,
        providers: Mapping[str, HttpProvider],
        *,
        name: str,
    ) -> None:
        """`name`: that clients know this host by, beside its addresses."""
        self._names = frozenset({"localhost", name.lower()})
        self._record = record
        self._faults = faults
        self._accounts = accounts
        self._providers = providers
        number = r"(\d{1,18})"
        self._routes: tuple[tuple[str, re.Pattern[str], Callable[..., Reply]], ...] = (
            ("GET", re.compile("/"), self._list_page),
            ("GET", re.compile(f"/messages/{number}"), self._capture_page),
            ("GET", re.compile("/captured"), self._list),
            ("DELETE", re.compile("/captured"), self._clear),
            ("GET", re.compile(f"/captured/{number}"), self._capture),
            ("GET", re.compile("/stats"), self._stats),
            ("GET", re.compile("/faults"), self._show_faults),
            ("PUT", re.compile("/faults"), self._set_faults),
            ("GET", re.compile("/faults/departures"), self._show_departures),
            ("GET", re.compile("/magic"), self._show_magic),
            ("GET", re.compile("/receipts"), self._show_receipts),
            ("PUT", re.compile("/receipts"), self._set_receipts),
            ("GET", re.compile("/credentials"), self._credentials),
            ("GET", re.compile("/service-account"), self._service_account),
        )

    def answer(self, request: Request) -> Reply:
        try:
            self._check_caller(request)
            return self._route(request)
        except _Refused as refusal:
            return _json({"error": {"code": refusal.status, "message": refusal.message}}, refusal.status)
        except ConfigurationError as error:
            return _json({"error": {"code": 400, "message": error.message}}, 400)

    def _check_caller(self, request: Request) -> None:
        """A page of anybody's may have its own name lead to this host, and read codes and credentials here. It cannot
        call by an address, nor hide whose it is when it changes something.
        """
        host = request.header(b"host")
        if host and not self._is_of_this_host(host):  # browsers always name one
            raise _Refused(421, f"Nobody is called {host!r} here. Use the host's address, or its name in --advertise.")
        origin = request.header(b"origin")
        if origin and origin.partition("://")[2].lower() != host.lower():
            raise _Refused(403, "Pages of other origins may not call.")

    def _is_of_this_host(self, host: str) -> bool:
        known = _HOST.fullmatch(host.lower())
        if known is None:
            return False
        name = known[1]
        try:
            ip_address(name.strip("[]"))
        except ValueError:
            return name in self._names
        return True

    def _route(self, request: Request) -> Reply:
        methods = []
        for method, pattern, answer in self._routes:
            if (found := pattern.fullmatch(request.path)) is not None:
                if method == request.method:
                    return answer(request, *found.groups())
                methods.append(method)
        if methods:
            raise _Refused(405, f"{request.path} takes {' and '.join(methods)}, not {request.method}.")
        raise _Refused(404, f"There is nothing at {request.path}. Try /, /captured, /stats or /faults.")

    # what was captured

    def _list(self, request: Request) -> Reply:
        """Newest first; with `after`, oldest first from the next number on, for readers that follow along."""
        wishes = _query_of(request, {"provider", "recipient", "query", "limit", "after"})
        limit = _number(wishes, "limit", DEFAULT_LIMIT, largest=LARGEST_LIMIT)
        found = self._matching(wishes)
        if "after" in wishes:
            after = _number(wishes, "after", 0)
            found = reversed([entry for entry in found if entry.n > after])
        return _json({"captured": [_entry_json(entry) for entry in islice(found, limit)], "last": self._record.n})

    def _capture(self, _request: Request, n: str) -> Reply:
        line = self._line(n)
        return _json({**line, "mail": asdict(view_mail(line))} if line.get("channel") == "email" else line)

    def _clear(self, _request: Request) -> Reply:
        self._record.clear()
        return Reply(204)

    def _stats(self, _request: Request) -> Reply:
        return _json(
            {
                "providers": {name: tally.describe() for name, tally in self._record.tallies.items()},
                "last": self._record.n,
                "record": str(self._record.path),
            }
        )

    def _matching(self, wishes: Mapping[str, str]) -> Iterator[Entry]:
        provider, recipient = wishes.get("provider"), wishes.get("recipient")
        words, bodies = wishes.get("query", "").casefold(), SEARCHED_BODIES
        for entry in self._record.entries():
            if provider and entry.provider != provider:
                continue
            if recipient and entry.recipient != recipient:
                continue
            if words and words not in f"{entry.recipient}\0{entry.title}".casefold():
                bodies -= 1
                if bodies < 0 or words not in self._body_of(entry.n).casefold():
                    continue
            yield entry

    def _body_of(self, n: int) -> str:
        line = self._record.read(n) or {}
        if line.get("channel") == "email":
            mail = view_mail(line)
            return mail.text or mail.html or ""
        return str(line.get("body") or line.get("text") or "")

    def _line(self, n: str) -> dict[str, Any]:
        line = self._record.read(int(n))
        if line is None:
            raise _Refused(404, f"Message {n} is not among the newest ones that the simulator keeps at hand.")
        return line

    # faults and accounts

    def _show_faults(self, _request: Request) -> Reply:
        return _json(self._faults.describe())

    def _show_departures(self, _request: Request) -> Reply:
        return _json(self._faults.departures())

    def _show_magic(self, _request: Request) -> Reply:
        words = {name: plan.words for name, plan in self._faults.plans.items() if plan.words}
        return _json({name: [asdict(word) for word in its] for name, its in words.items()})

    def _set_faults(self, request: Request) -> Reply:
        """Each provider named gets a fresh profile of the fields given; the rest of its fields are back to normal."""
        self._faults.replace(_parse(request.body))
        return _json(self._faults.describe())

    def _show_receipts(self, _request: Request) -> Reply:
        return _json({name: provider.receipts_url for name, provider in self._providers.items()})

    def _set_receipts(self, request: Request) -> Reply:
        """Where each provider named posts its receipts to, as its customers enter it in their accounts; "": nowhere."""
        wishes = _parse(request.body)
        if not isinstance(wishes, dict) or not all(isinstance(url, str) for url in wishes.values()):
            raise _Refused(400, 'Receipts map providers to addresses, as {"sendgrid": "http://127.0.0.1:8080/..."}.')
        if unknown := sorted(wishes.keys() - self._providers.keys()):
            raise _Refused(400, f"No such provider: {', '.join(unknown)}; there are {', '.join(self._providers)}.")
        for name, url in wishes.items():
            self._providers[name].receipts_url = url
        return self._show_receipts(request)

    def _credentials(self, _request: Request) -> Reply:
        """By the names that the Messaging API has for them."""
        return _json({name: provider.credentials() for name, provider in self._providers.items()})

    def _service_account(self, request: Request) -> Reply:
        return _json(self._accounts.mint(_query_of(request, {"project"}).get("project") or DEFAULT_PROJECT))

    # pages

    def _list_page(self, request: Request) -> Reply:
        wishes = _query_of(request, {"provider", "query", "before"})
        before = _number(wishes, "before", self._record.n + 1)
        older = (entry for entry in self._matching(wishes) if entry.n < before)
        entries = list(islice(older, DEFAULT_LIMIT + 1))
        listing = Listing(
            entries=entries[:DEFAULT_LIMIT],
            has_older=len(entries) > DEFAULT_LIMIT,
            provider=wishes.get("provider", ""),
            query=wishes.get("query", ""),
            tallies=self._record.tallies,
            faults=self._faults,
        )
        return _page(render_list(listing))

    def _capture_page(self, _request: Request, n: str) -> Reply:
        return _page(render_message(self._line(n)))


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in ("n", "at", "provider", "recipient", "message", "title", "is_copy")}


def _json(document: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode())


def _page(html: str) -> Reply:
    return Reply(200, html.encode("utf-8", "replace"), HTML, _PAGE_HEADERS)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"The body is not JSON: {error}") from error


def _query_of(request: Request, known: set[str]) -> dict[str, str]:
    wishes = dict(parse_qsl(request.query))
    if unknown := sorted(wishes.keys() - known):
        raise _Refused(400, f"{request.path} knows no {', '.join(unknown)}; it knows {', '.join(sorted(known))}.")
    return wishes


def _number(wishes: Mapping[str, str], name: str, default: int, *, largest: int = 10**18) -> int:
    text = wishes.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > len(str(largest)) or int(text) > largest:
        raise _Refused(400, f"{name} is a number from 0 to {largest}.")
    return int(text)
