import asyncio
import re
import smtplib
from email.message import EmailMessage
from email.policy import SMTP
from html.parser import HTMLParser
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.simulator import contents
from shared.simulator.record import Capture
from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import FcmClient
from tests.integration.simulator.conftest import Ask

HOSTILE = """<script>alert(1)</script>"><img src=x onerror='a()'>"""


class Tags(HTMLParser):
    """The tags and attributes of a page, as a browser would take them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


async def send_mail(simulator: Simulator, message: EmailMessage) -> None:
    host, _, port = simulator.smtp_endpoint.rpartition(":")

    def send() -> None:
        with smtplib.SMTP(host, int(port), timeout=10) as connection:
            connection.sendmail("sender@example.com", ["you@example.com"], message.as_bytes(policy=SMTP))

    await asyncio.to_thread(send)


def newsletter(
    *, subject: str = "Größe zählt", text: str = "Plain words", html: str = "<p>Rich words</p>"
) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "sender@example.com", "you@example.com", subject
    message["Message-ID"] = "<1@sender.example>"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    message.add_attachment(b"1,2,3", maintype="text", subtype="csv", filename="numbers.csv")
    return message


async def test_captured_messages_are_listed_newest_first(fcm: FcmClient, inbox: Ask) -> None:
    for number in range(5):
        await asyncio.to_thread(fcm.send, {"token": f"device-{number}", "notification": {"title": f"Title {number}"}})

    listed = (await inbox("GET", "/captured?limit=3")).json

    assert [entry["recipient"] for entry in listed["captured"]] == ["device-4", "device-3", "device-2"]
    assert listed["captured"][0]["title"] == "Title 4"
    assert listed["captured"][0]["n"] == listed["last"]


async def test_a_reader_follows_along_with_after(fcm: FcmClient, inbox: Ask) -> None:
    start = (await inbox("GET", "/captured")).json["last"]
    for number in range(3):
        await asyncio.to_thread(fcm.send, {"token": f"device-{number}"})

    first = (await inbox("GET", f"/captured?after={start}&limit=2")).json["captured"]
    rest = (await inbox("GET", f"/captured?after={first[-1]['n']}")).json["captured"]

    assert [entry["recipient"] for entry in first + rest] == ["device-0", "device-1", "device-2"]


async def test_captured_messages_are_searched(simulator: Simulator, fcm: FcmClient, inbox: Ask) -> None:
    await send_mail(simulator, newsletter())
    await asyncio.to_thread(fcm.send, {"token": "device", "notification": {"title": "Größer"}})

    async def recipients(query: str) -> set[str]:
        return {entry["recipient"] for entry in (await inbox("GET", f"/captured?{query}")).json["captured"]}

    assert await recipients("query=GR%C3%B6%C3%9F") == {"you@example.com", "device"}
    assert await recipients("query=EXAMPLE.com") == {"you@example.com"}
    assert await recipients("provider=fcm") == {"device"}
    assert await recipients("recipient=device") == {"device"}
    assert await recipients("recipient=devic") == set()


async def test_a_captured_mail_is_shown_taken_apart(simulator: Simulator, inbox: Ask) -> None:
    await send_mail(simulator, newsletter())

    mail = (await inbox("GET", f"/captured/{simulator.record.n}")).json["mail"]

    assert ["Subject", "Größe zählt"] in mail["headers"]
    assert mail["text"].strip() == "Plain words"
    assert mail["html"].strip() == "<p>Rich words</p>"
    assert mail["attachments"] == [{"name": "numbers.csv", "content_type": "text/csv", "size": 5}]
    assert mail["is_cut"] is False


@pytest.mark.parametrize(
    "content",
    [
        b"no header at all",
        b"",
        b"Content-Type: text/plain; charset=no-such\r\n\r\nx\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n",
        b'Subject: =?utf-8?b?!!!?=\r\nFrom: "\x00<>\r\n\r\n\xff\xfe\r\n',
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!not base64\r\n",
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n",
        "Subject: =?é?q?x?=\r\n\r\nx\r\n".encode(),
        b"Subject: =?undefined?q?x?=\r\n\r\nx\r\n",
        b"Subject: =?us\x00ascii?q?x?=\r\n\r\nx\r\n",
        b"Content-Type: text/plain; charset*0*=us%00ascii''\r\n\r\nx\r\n",
        b'Content-Disposition: attachment; filename*="a\'b"; filename*0=c\r\n\r\nx\r\n',
        b"Content-Type: message/rfc822\r\n\r\n" * 1_500,
    ],
)
async def test_any_mail_can_be_shown(simulator: Simulator, inbox: Ask, content: bytes) -> None:
    host, _, port = simulator.smtp_endpoint.rpartition(":")

    def send() -> None:
        with smtplib.SMTP(host, int(port), timeout=10) as connection:
            connection.sendmail("a@x.example", ["b@x.example"], content)

    await asyncio.to_thread(send)

    for path in (f"/captured/{simulator.record.n}", f"/messages/{simulator.record.n}", "/"):
        assert (await inbox("GET", path)).status == 200


async def test_stats_tell_providers_outcomes_and_copies(fcm: FcmClient, inbox: Ask) -> None:
    for token in ("device", "device", "dead-1", "other"):
        await asyncio.to_thread(fcm.send, {"token": token})

    stats = (await inbox("GET", "/stats")).json

    assert stats["providers"]["fcm"] == {
        "captured": 3,
        "recipients": 2,
        "copies": 1,
        "outcomes": {"accepted": 3, "dead_address": 1},
    }
    assert stats["providers"]["fcm-token"]["outcomes"] == {"accepted": 1}


async def test_deleting_empties_the_inbox(fcm: FcmClient, inbox: Ask) -> None:
    await asyncio.to_thread(fcm.send, {"token": "device"})

    assert (await inbox("DELETE", "/captured")).status == 204

    assert (await inbox("GET", "/captured")).json["captured"] == []
    assert (await inbox("GET", "/stats")).json["providers"] == {}


async def test_credentials_are_handed_out(simulator: Simulator, inbox: Ask) -> None:
    handed_out = (await inbox("GET", "/credentials")).json

    assert handed_out == simulator.describe()["credentials"]
    assert handed_out["apns"].keys() == {"authKey", "authKeyId", "teamId", "bundleId"}


async def test_a_service_account_is_issued_for_a_project(simulator: Simulator, fcm: FcmClient, inbox: Ask) -> None:
    account = (await inbox("GET", "/service-account?project=my-app")).json

    assert (account["type"], account["project_id"]) == ("service_account", "my-app")
    await asyncio.to_thread(fcm.authorize, account)
    assert (await asyncio.to_thread(fcm.send, {"token": "device"}, project="my-app")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "complaint"),
    [
        ("GET", "/nowhere", 404, "There is nothing at /nowhere"),
        ("POST", "/captured", 405, "takes GET and DELETE"),
        ("GET", "/captured/999999999", 404, "999999999"),
        ("GET", "/captured?limit=many", 400, "limit"),
        ("GET", "/captured?limit=100000", 400, "limit"),
        ("GET", f"/captured?limit={'9' * 5_000}", 400, "limit"),
        ("GET", "/captured?colour=red", 400, "colour"),
        ("PUT", "/faults", 400, "not JSON"),
        ("GET", "/service-account?project=Not%20one", 400, "'Not one'"),
    ],
)
async def test_errors_are_json_with_a_clear_text(
    inbox: Ask, method: str, path: str, status: int, complaint: str
) -> None:
    answer = await inbox(method, path)

    assert (answer.status, answer.json["error"]["code"]) == (status, status)
    assert complaint in answer.json["error"]["message"]


async def test_faults_nested_too_deep_are_an_error_too(inbox: Ask) -> None:
    answer = await inbox("PUT", "/faults", b"[" * 100_000)

    assert (answer.status, answer.json["error"]["code"]) == (400, 400)


# the page


async def test_the_page_lists_searches_and_shows(simulator: Simulator, fcm: FcmClient, inbox: Ask) -> None:
    await send_mail(simulator, newsletter())
    await asyncio.to_thread(fcm.send, {"token": "device", "notification": {"title": "Knock", "body": "Who is there?"}})

    page = (await inbox("GET", "/")).text
    found = (await inbox("GET", "/?query=knock&provider=fcm")).text
    push = (await inbox("GET", f"/messages/{simulator.record.n}")).text
    mail = (await inbox("GET", f"/messages/{simulator.record.n - 1}")).text

    assert "you@example.com" in page
    assert "Größe zählt" in page
    assert "404 UNREGISTERED" in page
    assert "device" in found
    assert "you@example.com" not in found
    assert "Who is there?" in push
    assert 'srcdoc="&lt;p&gt;Rich words&lt;/p&gt;' in mail
    assert "Plain words" in mail
    assert "numbers.csv" in mail


def capture(simulator: Simulator, content: dict[str, Any], **fields: str) -> int:
    known = {"provider": "any", "recipient": "someone", "message": "m", "key": "k", "title": "Title"}
    return simulator.record.append(Capture(**{**known, **fields}, content=content))


async def test_a_push_is_shown_as_a_device_would(simulator: Simulator, inbox: Ask) -> None:
    content = contents.push(
        body="Who is there?",
        image="https://pictures.example/door.png",
        badge=7,
        sound="bell.caf",
        data={"door": "front"},
        settings={"priority": "high", "interruption level": "critical"},
        payload={"aps": {"mutable-content": 1}},
    )
    page = (await inbox("GET", f"/messages/{capture(simulator, content, title='Knock')}")).text

    assert '<span class="badge">7</span>' in page
    assert "<b>Knock</b><p>Who is there?</p>" in page
    assert "Picture: https://pictures.example/door.png" in page
    assert "Sound: bell.caf" in page
    for row in (("door", "front"), ("priority", "high"), ("interruption level", "critical")):
        assert "".join(f"<td>{cell}</td>" for cell in row) in page
    assert "mutable-content" in page


async def test_a_push_over_fcm_tells_what_android_does_with_it(
    simulator: Simulator, fcm: FcmClient, inbox: Ask
) -> None:
    android = {"priority": "HIGH", "notification": {"clickAction": "OPEN", "color": "#ff0000"}}
    await asyncio.to_thread(fcm.send, {"token": "device", "notification": {"title": "Knock"}, "android": android})

    page = (await inbox("GET", f"/messages/{simulator.record.n}")).text

    for row in (("priority", "HIGH"), ("click_action", "OPEN"), ("color", "#ff0000")):
        assert "".join(f"<td>{cell}</td>" for cell in row) in page


async def test_a_push_without_words_shows_nothing(simulator: Simulator, inbox: Ask) -> None:
    content = contents.push(body="", payload={"aps": {"content-available": 1}})
    page = (await inbox("GET", f"/messages/{capture(simulator, content, title='')}")).text
    assert "a silent push" in page
    assert 'class="phone"' not in page


async def test_a_text_message_is_shown_in_its_segments(simulator: Simulator, inbox: Ask) -> None:
    text = "a" * 152 + "€" + "<b>"
    page = (await inbox("GET", f"/messages/{capture(simulator, contents.sms(text, sender='ACME'))}")).text
    assert page.count('class="bubble"') == 1
    assert "1 segment, 157 units of GSM-7" in page

    page = (await inbox("GET", f"/messages/{capture(simulator, contents.sms(text * 2, sender='ACME'))}")).text
    assert f'<div class="bubble">{"a" * 152}<small>1 of 3</small></div>' in page
    assert '<div class="bubble">€&lt;b&gt;aaa' in page
    assert "3 segments, 314 units of GSM-7" in page
    assert "ACME" in page


async def test_a_mail_of_an_api_is_shown_like_any_other(simulator: Simulator, inbox: Ask) -> None:
    content = contents.email(
        sender="news@example.com",
        text="Plain words",
        html="<p>Rich words</p>",
        headers=(("From", "news@example.com"), ("Subject", "Größe")),
        attachments=({"name": "numbers.csv", "content_type": "text/csv", "size": 5},),
    )
    number = capture(simulator, content, title="Größe")

    page = (await inbox("GET", f"/messages/{number}")).text
    mail = (await inbox("GET", f"/captured/{number}")).json["mail"]

    assert 'srcdoc="&lt;p&gt;Rich words&lt;/p&gt;' in page
    for words in ("Plain words", "numbers.csv", "<td>From</td><td>news@example.com</td>"):
        assert words in page
    assert (mail["text"], mail["headers"][1], mail["is_cut"]) == ("Plain words", ["Subject", "Größe"], False)


async def test_bodies_are_searched_too(simulator: Simulator, inbox: Ask) -> None:
    await send_mail(simulator, newsletter())
    capture(simulator, contents.sms("Your code is 4711", sender=""), recipient="texted", title="")
    capture(simulator, contents.push(body="Whose Code?", payload={}), recipient="pushed", title="")
    capture(simulator, contents.email(sender="a@x.example", html="<p>A code</p>"), recipient="mailed", title="")

    async def recipients(query: str) -> set[str]:
        return {entry["recipient"] for entry in (await inbox("GET", f"/captured?query={query}")).json["captured"]}

    assert await recipients("code") == {"texted", "pushed", "mailed"}
    assert await recipients("plain+words") == {"you@example.com"}
    assert await recipients("nothing+of+this") == set()


async def test_a_list_shows_the_beginning_of_a_long_text(simulator: Simulator, inbox: Ask) -> None:
    number = capture(simulator, contents.sms("x" * 900 + "the end", sender=""), title="x" * 900 + "the end")

    listed = (await inbox("GET", "/captured?query=THE+END")).json["captured"]

    assert [entry["title"] for entry in listed] == ["x" * 200]
    assert (await inbox("GET", f"/captured/{number}")).json["title"].endswith("the end")


async def test_pages_lead_back_to_what_is_older(fcm: FcmClient, simulator: Simulator, inbox: Ask) -> None:
    simulator.record.clear()
    for number in range(101):
        await asyncio.to_thread(fcm.send, {"token": f"device-{number}"})

    page = (await inbox("GET", "/?query=device")).text
    (link,) = re.findall(r'<a href="(/\?[^"]+)">Older', page)
    older = (await inbox("GET", link.replace("&amp;", "&"))).text

    assert ">device-0<" not in page
    assert ">device-0<" in older
    assert "Older" not in older


async def test_hostile_content_stays_text(simulator: Simulator, fcm: FcmClient, inbox: Ask) -> None:
    await asyncio.to_thread(
        fcm.send,
        {
            "token": HOSTILE,
            "notification": {"title": HOSTILE, "body": HOSTILE},
            "data": {HOSTILE: HOSTILE},
            "android": {"collapse_key": HOSTILE, "notification": {"tag": HOSTILE}},
        },
    )
    await send_mail(simulator, newsletter(subject=HOSTILE, text=HOSTILE, html=HOSTILE))
    settings = {HOSTILE: HOSTILE}
    push = contents.push(body=HOSTILE, image=HOSTILE, sound=HOSTILE, data=settings, settings=settings, payload=settings)
    capture(simulator, {**push, "badge": HOSTILE}, title=HOSTILE, provider=HOSTILE)
    capture(simulator, contents.sms(HOSTILE, sender=HOSTILE), recipient=HOSTILE)
    attachment = {"name": HOSTILE, "content_type": HOSTILE, "size": 1}
    headers = [(HOSTILE, HOSTILE)]
    mail = contents.email(sender=HOSTILE, text=HOSTILE, html=HOSTILE, headers=headers, attachments=[attachment])
    capture(simulator, mail, title=HOSTILE)

    paths = ["/", f"/?query={'%22%3E%3Cscript%3E'}", *(f"/messages/{entry.n}" for entry in simulator.record.entries())]
    for path in paths:
        answer = await inbox("GET", path)
        page = Tags(answer.text)
        assert answer.status == 200
        assert not {"script", "img", "object", "embed"} & set(page.tags)
        assert not [name for name, _ in page.attributes if name.startswith("on")]
        assert not [value for name, value in page.attributes if name in {"src", "href"} and "//" in (value or "")]
        assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_mails_html_is_shown_in_a_closed_sandbox(simulator: Simulator, inbox: Ask) -> None:
    await send_mail(simulator, newsletter(html=HOSTILE))

    page = Tags((await inbox("GET", f"/messages/{simulator.record.n}")).text)

    assert ("sandbox", "") in page.attributes
    assert [value for name, value in page.attributes if name == "srcdoc" and value and HOSTILE in value]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8025", 200),
        ("localhost:8025", 200),
        ("[::1]:8025", 200),
        ("192.0.2.7", 200),
        ("evil.example", 421),
        ("evil.example:8025", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
    ],
)
async def test_no_name_of_a_stranger_s_leads_here(simulator: Simulator, host: str, status: int) -> None:
    """A page could have its own name lead to this machine, and read the codes that were captured."""
    for path in ("/", "/captured", "/credentials"):
        assert (await asyncio.to_thread(ask_as, simulator, "GET", path, {"Host": host})) == status


@pytest.mark.parametrize(("origin", "status"), [("", 200), ("same", 200), ("https://evil.example", 403), ("null", 403)])
async def test_no_page_of_another_origin_changes_anything(simulator: Simulator, origin: str, status: int) -> None:
    own = simulator.http_endpoint.partition("://")[2]
    headers = {"Host": own, "Origin": f"http://{own}" if origin == "same" else origin}
    if not origin:
        del headers["Origin"]
    assert (await asyncio.to_thread(ask_as, simulator, "PUT", "/receipts", headers, b"{}")) == status


def ask_as(simulator: Simulator, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> int:
    """The status, with exactly these headers of who asks."""
    address = urlsplit(simulator.http_endpoint)
    connection = HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    status = connection.getresponse().status
    connection.close()
    return status
