"""Attachments in a mail, read back by a parser that is not ours."""

from email import message_from_bytes, policy

import pytest

from shared.domain.status import Channel
from shared.providers.contract import Account, Content, ContentFile
from shared.providers.email.mail import MailTemplate

ACCOUNT = Account(1, 1, {}, {"fromEmail": "news@example.com"})


@pytest.mark.parametrize("html", [False, True])
def test_files_stand_below_the_body(*, html: bool) -> None:
    content = bytes(range(256)) * 1000
    files = (ContentFile("a.bin", "application/octet-stream", content), ContentFile("b.txt", "text/plain", b".\r\n.x"))
    data = {"subject": "Hello", "content": "Hello\n", "html": html, "attachments": [{}, {}]}
    tail = MailTemplate(Content(1, Channel.EMAIL, data, 0.0, files), ACCOUNT).tail
    mail = message_from_bytes(tail.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n."), policy=policy.default)
    assert mail.get_content_type() == "multipart/mixed"
    body, first, second = mail.iter_parts()
    assert body.get_content_type() == ("multipart/alternative" if html else "text/plain")
    assert (first.get_filename(), first.get_content_type()) == ("a.bin", "application/octet-stream")
    assert first.get_payload(decode=True) == content
    assert second.get_payload(decode=True) == b".\r\n.x"
    assert max(map(len, tail.split(b"\r\n"))) <= 100


@pytest.mark.parametrize(
    "name", ["a.txt", "mü sli.txt", 'x"; evil\r\nBcc: eve@example.com', "ж" * 200 + ".pdf", "€%20"]
)
def test_names_survive_and_stay_in_their_header(name: str) -> None:
    files = (ContentFile(name, "text/plain", b"x"),)
    data = {"subject": "Hello", "content": "Hello\n", "attachments": [{}]}
    tail = MailTemplate(Content(1, Channel.EMAIL, data, 0.0, files), ACCOUNT).tail
    part = list(message_from_bytes(tail).walk())[-1]
    assert part.get_filename() == name
    assert "Bcc" not in part
    assert max(map(len, tail.split(b"\r\n"))) <= 100
