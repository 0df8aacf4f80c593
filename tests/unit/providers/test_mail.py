"""What a mail looks like on the wire, read back by a parser that is not ours."""

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest

from shared.domain.outcome import AccountFault, Refused
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.email.address import Address
from shared.providers.email.letter import MailRefused
from shared.providers.email.mail import MailTemplate, date_now

OPTIONS = {"fromName": "", "fromEmail": "news@example.com", "replyToName": "", "replyToEmail": ""}
RECIPIENT = Address("anna@example.org", needs_utf8=False)


def render(content: str = "Hello\n", *, html: bool = False, subject: str = "Hello", **options: Any) -> bytes:
    """The bytes between 354 and the final dot, dots undone."""
    template = template_of({"subject": subject, "content": content, "html": html}, **options)
    raw = template.head_for(SendRequest("17-4", RECIPIENT.text), RECIPIENT, date_now()) + template.tail
    assert raw.endswith(b"\r\n.\r\n")
    return raw.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


def template_of(data: dict[str, Any], **options: Any) -> MailTemplate:
    return MailTemplate(Content(1, Channel.EMAIL, data, 0.0), Account(1, 1, {}, {**OPTIONS, **options}))


def parse(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=policy.default)


def text_of(message: EmailMessage) -> str:
    content: str = message.get_content()
    return content.replace("\r\n", "\n")


def test_a_plain_mail() -> None:
    mail = parse(render("Grüße\nan alle\n", subject="Schöne Grüße"))

    assert mail["Subject"] == "Schöne Grüße"
    assert (mail["From"], mail["To"], mail["Reply-To"]) == ("news@example.com", "anna@example.org", "news@example.com")
    assert mail["Message-ID"] == "<17-4@example.com>"
    assert mail.get_content_type() == "text/plain"
    assert text_of(mail) == "Grüße\nan alle\n"


def test_html_comes_with_its_text() -> None:
    mail = parse(
        render(
            "<html><head><title>no</title><style>p { color: red }</style></head><body><h1>Offer &amp; more</h1>"
            '<p>For <b>you</b>:<br>see <a href="https://example.com/a?b=1&amp;c=2">this</a></p>'
            "<ul><li>one<li>two</ul><script>alert(1)</script></body></html>",
            html=True,
        )
    )

    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text_of(text).rstrip().split("\n") == [
        "Offer & more",
        "",
        "For you:",
        "see this (https://example.com/a?b=1&c=2)",
        "",
        "- one",
        "- two",
    ]
    assert "<script>" in text_of(html)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("plain ASCII\n", "7bit"),
        ("x" * 998 + "\n", "7bit"),
        ("x" * 999 + "\n", "quoted-printable"),
        ("mostly ASCII, one é\n" * 10, "quoted-printable"),
        ("你好世界\n" * 10, "base64"),
        ("nul \0 inside\n", "quoted-printable"),
        (".\n..\n.leading dots\n", "7bit"),
        ("é\n.\n.leading dots\n", "quoted-printable"),
        ("no end of line", "7bit"),
        ("mixed\r\nends\rof\nlines\n", "7bit"),
        ("trailing space \nand tab\t\né\n", "quoted-printable"),
        ("", "7bit"),
    ],
    ids=ascii,
)
def test_bodies_survive(content: str, encoding: str) -> None:
    raw = render(content)
    mail = parse(raw)

    assert mail["Content-Transfer-Encoding"] == encoding
    expected = content.replace("\r\n", "\n").replace("\r", "\n")
    assert text_of(mail).rstrip("\n") == expected.rstrip("\n")
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "Hello",
        "x" * 998,
        "many words " * 80 + "end",
        "two  spaces and  more " + "word " * 30 + "end",
        " leading and trailing ",
        "é" * 500,
        "emoji 🎉 and text " * 20,
        "=?utf-8?q?looks_encoded?=",
        "=?utf-8?B?a?= looks badly encoded",
        "=?none?q?of_no_charset?=",
        'quotes " and \\ and <brackets>',
        "tab\tinside",
        "line separator \u2028 and next line \x85",
    ],
    ids=lambda subject: ascii(subject)[:40],
)
def test_subjects_survive(subject: str) -> None:
    raw = render(subject=subject)

    assert parse(raw)["Subject"] == subject
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998


NAMES = ["News", "Acme, Inc.", 'The "Team"', "Jörg & Søn", "=?utf-8?q?x?=", "a\\b", "名前" * 30, "x" * 128, "dot. com"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_display_names_survive(name: str) -> None:
    """Read with the older parser: the newer one leaves the space between encoded words of a phrase."""
    mail = message_from_bytes(render(fromName=name), policy=policy.compat32)

    for header in ("From", "Reply-To"):
        phrase, address = parseaddr(mail[header])
        assert (str(make_header(decode_header(phrase))), address) == (name, "news@example.com")


def test_reply_to_and_mailer_of_its_own() -> None:
    mail = parse(render(fromName="News", replyToName="Help", replyToEmail="help@bücher.example", mailer="Acme 1.0"))

    assert mail["Reply-To"] == "Help <help@xn--bcher-kva.example>"
    assert mail["X-Mailer"] == "Acme 1.0"


def test_a_messages_own_reply_to_wins_over_the_providers() -> None:
    data = {"subject": "s", "content": "c", "replyToEmail": "sales@example.com", "replyToName": "Sales"}
    template = template_of(data, replyToName="Help", replyToEmail="help@example.com")
    raw = template.head_for(SendRequest("17-4", RECIPIENT.text), RECIPIENT, date_now()) + template.tail

    assert parse(raw)["Reply-To"] == "Sales <sales@example.com>"


def test_addresses_beyond_ascii_are_written_as_they_are() -> None:
    """To servers with SMTPUTF8 only (RFC 6532)."""
    template = template_of({"subject": "s", "content": "c", "replyToEmail": "käthe@example.com"}, replyToName="Käthe")

    assert template.sender == Address("news@example.com", needs_utf8=True)
    assert "<käthe@example.com>\r\n".encode() in template.tail
    assert "From: jörg@example.com\r\n".encode() in render(fromEmail="jörg@example.com")


def test_no_mailer_no_header() -> None:
    assert parse(render())["X-Mailer"] is None


HOSTILE = ["a\r\nBcc: v@example.com", "a\nb", "a\rb", "a\0b", "=?utf-8?q?a=0D=0ABcc:_v?=", "x =?UTF-8?B?YQ0KQg==?= y"]
HOSTILE += ["=?utf-8?B?a?= =?utf-8?q?=0A?=", "=?utf-8*en?q?a=0ABcc:_v?="]


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
@pytest.mark.parametrize("field", ["subject", "fromName", "replyToName", "mailer"])
def test_no_field_can_add_a_header(field: str, value: str) -> None:
    with pytest.raises(MailRefused) as error:
        template_of(
            {"subject": "s", "content": "c", **({field: value} if field == "subject" else {})}, **{field: value}
        )

    assert isinstance(error.value.outcome, Refused)
    assert field in error.value.outcome.reason
    assert "v@example.com" not in error.value.outcome.reason


@pytest.mark.parametrize(
    "options",
    [
        {"fromEmail": ""},
        {"fromEmail": "news@example.com\r\nBcc: v@example.com"},
        {"fromEmail": "nobody"},
        {"replyToEmail": "any text"},
        {"replyToEmail": "a@example.com, b@example.com"},
    ],
    ids=str,
)
def test_a_senders_address_that_is_none_is_the_accounts_fault(options: dict[str, str]) -> None:
    with pytest.raises(MailRefused) as error:
        template_of({"subject": "s", "content": "c"}, **options)

    assert isinstance(error.value.outcome, AccountFault)


def test_a_reply_to_of_the_messages_own_that_is_none_is_the_messages_fault() -> None:
    with pytest.raises(MailRefused) as error:
        template_of({"subject": "s", "content": "c", "replyToEmail": "nobody"}, replyToEmail="help@example.com")

    assert isinstance(error.value.outcome, Refused)
