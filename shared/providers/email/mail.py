"""A message's content as mail: rendered once, with room in front for what differs between recipients."""

from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from shared.domain.outcome import AccountFault, Refused
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.email.address import Address, read_address
from shared.providers.email.bodies import render_body, with_attachments
from shared.providers.email.headers import HeaderRefused, check_value, check_written, mailbox, unstructured


class MailRefused(Exception):  # named for what happened
    """This content cannot be sent through this account; `outcome` is the same for every recipient."""

    def __init__(self, outcome: Refused | AccountFault) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class MailTemplate:
    """What all copies share, ready for DATA; and the sender, which is also the envelope's."""

    __slots__ = ("_domain", "sender", "tail")

    def __init__(self, content: Content, account: Account) -> None:
        """Raises MailRefused."""
        data = content.data
        if len(data.get("attachments") or ()) != len(content.files):
            raise MailRefused(Refused("its attachments were not loaded"))
        self.sender = _read_sender(account)
        self._domain = self.sender.text.rpartition("@")[2]
        try:
            headers = _shared_headers(data, self.sender, account)
        except HeaderRefused as error:
            raise MailRefused(Refused(str(error))) from error
        body = render_body(str(data["content"]), is_html=bool(data.get("html")))
        mail = headers + b"MIME-Version: 1.0\r\n" + with_attachments(body, content.files)
        self.tail = mail.replace(b"\r\n.", b"\r\n..") + b".\r\n"

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


def _read_sender(account: Account) -> Address:
    sender = str(account.options.get("fromEmail") or "")
    if not sender:
        raise MailRefused(AccountFault("the provider has no fromEmail"))
    try:
        return read_address(sender)
    except ValueError as error:
        raise MailRefused(AccountFault(f"the provider's fromEmail is {error}")) from error


def _shared_headers(data: Mapping[str, Any], sender: Address, account: Account) -> bytes:
    """From, Reply-To, Subject and X-Mailer.

    Reply-To is the message's own, else the account's, else the sender; its name and its address apart.
    """
    options = account.options
    subject = str(data.get("subject") or "")
    from_name = str(options.get("fromName") or "")
    reply_name = str(data.get("replyToName") or options.get("replyToName") or "") or from_name
    mailer = str(options.get("mailer") or "")
    named = {"subject": subject, "fromName": from_name, "replyToName": reply_name, "mailer": mailer}
    for field, value in named.items():
        check_value(field, value)
    reply_to = _read_reply_to(data, account) or sender
    written = mailbox("From", from_name, sender.text) + mailbox("Reply-To", reply_name, reply_to.text)
    written += unstructured("Subject", subject)
    expected = {"From": sender.text, "Reply-To": reply_to.text, "Subject": subject}
    if mailer:
        written += unstructured("X-Mailer", mailer)
        expected["X-Mailer"] = mailer
    check_written(written, expected)
    return written


def _read_reply_to(data: Mapping[str, Any], account: Account) -> Address | None:
    """An update may have stored any text here, so it is checked again; whose it is decides whose fault it is."""
    own, accounts = str(data.get("replyToEmail") or ""), str(account.options.get("replyToEmail") or "")
    try:
        return read_address(own or accounts) if own or accounts else None
    except ValueError as error:
        fault = Refused if own else AccountFault
        raise MailRefused(fault(f"the replyToEmail is {error}")) from error
