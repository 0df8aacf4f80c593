"""What Tidings and all that it is measured against send: one push notification, one e-mail, one text message."""

from email.message import EmailMessage

from shared.domain.status import Channel

SENDER = "news@tidings.example"
SUBJECT = "The autumn programme is out"
BODY = "Forty concerts, two of them near you. Tickets from Monday at ten."


def content_of(channel: Channel) -> dict[str, str]:
    """By the words of the API."""
    match channel:
        case Channel.PUSH:
            return {"title": SUBJECT, "body": BODY}
        case Channel.EMAIL:
            return {"subject": SUBJECT, "content": BODY}
        case Channel.SMS:
            return {"content": BODY}


def push_payload(token: str) -> dict[str, object]:
    return {"message": {"token": token, "notification": {"title": SUBJECT, "body": BODY}}}


def email_message(address: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = SENDER
    message["To"] = address
    message["Subject"] = SUBJECT
    message.set_content(BODY)
    return message


_HEAD, _TAIL = email_message("{address}").as_bytes().replace(b"\n", b"\r\n").split(b"{address}")


def email_bytes(address: str) -> bytes:
    """The same message, put together from parts made once: building one costs more than sending it."""
    return b"".join((_HEAD, address.encode(), _TAIL))
