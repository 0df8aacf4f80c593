"""What a message says as mail, apart from whom it goes to: read from its content and its account, and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.domain.outcome import AccountFault, Refused
from shared.providers.contract import Account, Content, ContentFile
from shared.providers.email.address import Address, read_address
from shared.providers.email.headers import HeaderRefused, check_value
from shared.providers.email.plain_text import text_of_html


class MailRefused(Exception):  # named for what happened
    """This content cannot be sent through this account; `outcome` is the same for every recipient."""

    def __init__(self, outcome: Refused | AccountFault) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Letter:
    sender: Address
    from_name: str  # "": none
    reply_to: Address
    reply_name: str
    subject: str
    content: str
    is_html: bool
    files: tuple[ContentFile, ...]

    def text(self) -> str:
        """What a reader without HTML sees."""
        return text_of_html(self.content) if self.is_html else self.content


def read_letter(content: Content, account: Account) -> Letter:
    """Raises MailRefused.

    Reply-To is the message's own, else the account's, else the sender; its name and its address apart.
    """
    data, options = content.data, account.options
    if len(data.get("attachments") or ()) != len(content.files):
        raise MailRefused(Refused("its attachments were not loaded"))
    sender = _read_sender(account)
    from_name = str(options.get("fromName") or "")
    letter = Letter(
        sender=sender,
        from_name=from_name,
        reply_to=_read_reply_to(data, account) or sender,
        reply_name=str(data.get("replyToName") or options.get("replyToName") or "") or from_name,
        subject=str(data.get("subject") or ""),
        content=str(data["content"]),
        is_html=bool(data.get("html")),
        files=tuple(_described(file) for file in content.files),
    )
    _check_texts(letter)
    return letter


def _check_texts(letter: Letter) -> None:
    """Of what becomes part of a header, whoever writes it."""
    named = {"subject": letter.subject, "fromName": letter.from_name, "replyToName": letter.reply_name}
    try:
        for field, value in named.items():
            check_value(field, value)
    except HeaderRefused as error:
        raise MailRefused(Refused(str(error))) from error


def _described(file: ContentFile) -> ContentFile:
    """Mailgun drops a file without a name in silence."""
    return replace(file, name=file.name or "attachment", mime_type=file.mime_type or "application/octet-stream")


def _read_sender(account: Account) -> Address:
    sender = str(account.options.get("fromEmail") or "")
    if not sender:
        raise MailRefused(AccountFault("the provider has no fromEmail"))
    try:
        return read_address(sender)
    except ValueError as error:
        raise MailRefused(AccountFault(f"the provider's fromEmail is {error}")) from error


def _read_reply_to(data: Mapping[str, Any], account: Account) -> Address | None:
    """An update may have stored any text here, so it is checked again; whose it is decides whose fault it is."""
    own, accounts = str(data.get("replyToEmail") or ""), str(account.options.get("replyToEmail") or "")
    try:
        return read_address(own or accounts) if own or accounts else None
    except ValueError as error:
        fault = Refused if own else AccountFault
        raise MailRefused(fault(f"the replyToEmail is {error}")) from error
