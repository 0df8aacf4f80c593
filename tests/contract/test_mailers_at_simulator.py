"""The adapters of mailers and the simulator, which read the same documents apart: what is told is what is on record."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Outcome, Retry, Unknown
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.curl import CurlTransport
from shared.providers.email.http_mail import HttpMailAdapter
from shared.providers.email.mailgun import MailgunAdapter
from shared.providers.email.resend import ResendAdapter
from shared.providers.email.sendgrid import SendgridAdapter
from shared.providers.email.ses import SesAdapter
from shared.simulator.simulator import Simulator
from tests.contract.mail_wire import OPTIONS, PICTURE
from tests.contract.smtp_wire import email
from tests.contract.suite import collect

KINDS: tuple[type[HttpMailAdapter[Any]], ...] = (SendgridAdapter, MailgunAdapter, ResendAdapter, SesAdapter)

of_every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)

HELLO = email("Hello", "Du & ich\n")


@asynccontextmanager
async def at_simulator(
    kind: type[HttpMailAdapter[Any]], directory: Path, **credentials: Any
) -> AsyncIterator[tuple[HttpMailAdapter[Any], Simulator]]:
    async with Simulator.running(directory) as simulator:
        transport = CurlTransport(timeout_seconds=5, ca_file=simulator.ca_file)
        account = Account(1, 1, {**simulator.http_providers[kind.kind].credentials(), **credentials}, OPTIONS)
        yield kind(account, transport=transport, endpoint=simulator.https_endpoint), simulator
        await transport.aclose()


def requests(words: Sequence[str]) -> list[SendRequest]:
    return [SendRequest(f"17-{number}", f"{word}-{number}@example.com") for number, word in enumerate(words)]


async def send_until_settled(
    adapter: HttpMailAdapter[Any], content: Content, asked: Sequence[SendRequest]
) -> dict[str, Outcome]:
    """By address; what may be tried again is."""
    outcomes: dict[str, Outcome] = {}
    while asked:
        answered = zip(asked, await collect(adapter, content, asked), strict=True)
        outcomes |= {request.identifier: outcome for request, outcome in answered}
        asked = [request for request in asked if isinstance(outcomes[request.identifier], Retry)]
    return outcomes


def captured(simulator: Simulator, kind: type[HttpMailAdapter[Any]]) -> dict[str, dict[str, Any]]:
    """Lines of the record by recipient: one for each."""
    lines = [simulator.record.read(entry.n) for entry in simulator.record.entries() if entry.provider == kind.kind]
    found = {line["recipient"]: line for line in lines if line}
    assert len(found) == len(lines), "a recipient got a copy"
    return found


@of_every_kind
async def test_who_is_told_accepted_has_a_mail_and_nobody_else(
    tmp_path: Path, kind: type[HttpMailAdapter[Any]]
) -> None:
    async with at_simulator(kind, tmp_path) as (adapter, simulator):
        asked = requests(["person", "dead", "throttled", "flaky", "bounced", "complained"] * 50)

        outcomes = await send_until_settled(adapter, HELLO, asked)

        mails = captured(simulator, kind)
        accepted = {address for address, outcome in outcomes.items() if isinstance(outcome, Accepted)}
        assert mails.keys() == accepted == {r.identifier for r in asked if not r.identifier.startswith("dead")}
        assert {type(outcome) for outcome in outcomes.values()} == {Accepted, DeadAddress}
        assert {request.identifier: request.delivery_id for request in asked if request.identifier in accepted} == {
            address: mail["delivery"] for address, mail in mails.items()
        }


@of_every_kind
async def test_a_lost_answer_leaves_one_mail(tmp_path: Path, kind: type[HttpMailAdapter[Any]]) -> None:
    async with at_simulator(kind, tmp_path) as (adapter, simulator):
        (outcome,) = await collect(adapter, HELLO, requests(["dropped"]))

        assert isinstance(outcome, Accepted if kind.recognises_repeats else Unknown)
        assert captured(simulator, kind).keys() == {"dropped-0@example.com"}


@of_every_kind
async def test_each_sees_a_mail_of_their_own(tmp_path: Path, kind: type[HttpMailAdapter[Any]]) -> None:
    data = {"attachments": [{"bucketId": "b", "fileId": "f"}], "html": True, "replyToEmail": "desk@example.com"}
    content = replace(email("Grüße, {{name}} %recipient.x%", "<p>Du &amp; ich {{x}}</p>", **data), files=(PICTURE,))
    roles: dict[int, Any] = {1: "cc", 2: "bcc"}
    asked = [replace(r, role=roles.get(n, "to")) for n, r in enumerate(requests(["a", "b", "c"]))]

    async with at_simulator(kind, tmp_path) as (adapter, simulator):
        outcomes = await collect(adapter, content, asked)

        assert {type(outcome) for outcome in outcomes} == {Accepted}
        for address, mail in captured(simulator, kind).items():
            headers = dict(mail["headers"])
            assert (mail["title"], mail["text"]) == ("Grüße, {{name}} %recipient.x%", "Du & ich {{x}}\n")
            assert mail["html"] == "<p>Du &amp; ich {{x}}</p>"
            assert (mail["sender"], headers["Reply-To"].endswith("<desk@example.com>")) == ("news@example.com", True)
            assert mail["attachments"] == [
                {"name": PICTURE.name, "content_type": PICTURE.mime_type, "size": len(PICTURE.content)}
            ]
            shown = headers.get("To", "") + headers.get("Cc", "")
            assert shown in {address, ""}, "somebody else is shown"


@of_every_kind
async def test_a_wrong_key_is_the_accounts_fault(tmp_path: Path, kind: type[HttpMailAdapter[Any]]) -> None:
    async with at_simulator(kind, tmp_path, **{kind.needed[0]: "another"}) as (adapter, simulator):
        outcomes = await collect(adapter, HELLO, requests(["person"] * 3))

        assert {type(outcome) for outcome in outcomes} == {AccountFault}
        assert captured(simulator, kind) == {}
