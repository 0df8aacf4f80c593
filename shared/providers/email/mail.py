"""A message's content as mail for SMTP: rendered once, with room in front for what differs between recipients."""

from email.utils import formatdate

from shared.domain.outcome import Refused
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.email.address import Address
from shared.providers.email.bodies import render_body, with_attachments
from shared.providers.email.headers import HeaderRefused, check_value, check_written, mailbox, unstructured
from shared.providers.email.letter import Letter, MailRefused, read_letter


class MailTemplate:
    """What all copies share, ready for DATA; and the sender, which is also the envelope's."""

    __slots__ = ("_domain", "sender", "tail")

    def __init__(self, content: Content, account: Account) -> None:
        """Raises MailRefused."""
        letter = read_letter(content, account)
        needs_utf8 = letter.sender.needs_utf8 or letter.reply_to.needs_utf8  # headers ask the same of the server
        self.sender = letter.sender._replace(needs_utf8=needs_utf8)
        self._domain = self.sender.text.rpartition("@")[2]
        try:
            headers = _shared_headers(letter, mailer=str(account.options.get("mailer") or ""))
        except HeaderRefused as error:
            raise MailRefused(Refused(str(error))) from error
        body = render_body(letter.content, is_html=letter.is_html)
        pieces = with_attachments(body.replace(b"\r\n.", b"\r\n.."), letter.files)
        self.tail = b"".join([headers, b"MIME-Version: 1.0\r\n", *pieces, b".\r\n"])

    def head_for(self, request: SendRequest, address: Address, date: str) -> bytes:
        """The recipient's own headers. A resend carries the same Message-ID, so that receivers may fold the two.

        Each recipient has a mail of its own. Who was named under cc sees a Cc, and that there are others; the mails
        of the others do not show it, nor any of them who was named under bcc.
        """
        if request.role == "to":
            destination = f"To: {address.text}"
        elif request.role == "cc":
            destination = f"To: undisclosed-recipients:;\r\nCc: {address.text}"
        else:
            destination = "To: undisclosed-recipients:;"
        return f"Date: {date}\r\nMessage-ID: <{request.delivery_id}@{self._domain}>\r\n{destination}\r\n".encode()


def date_now() -> str:
    return formatdate(usegmt=True)


def _shared_headers(letter: Letter, *, mailer: str) -> bytes:
    """From, Reply-To, Subject and X-Mailer."""
    check_value("mailer", mailer)
    sender, reply_to, subject = letter.sender.text, letter.reply_to.text, letter.subject
    written = mailbox("From", letter.from_name, sender) + mailbox("Reply-To", letter.reply_name, reply_to)
    written += unstructured("Subject", subject)
    expected = {"From": sender, "Reply-To": reply_to, "Subject": subject}
    if mailer:
        written += unstructured("X-Mailer", mailer)
        expected["X-Mailer"] = mailer
    check_written(written, expected)
    return written
