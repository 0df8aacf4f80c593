"""Each provider: who answers in its place, what it is given, and what else can send through it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import accounts
from tests.benchmarks.accounts import Account
from tests.benchmarks.addresses import DEVICE_TOKEN, MAIL_ADDRESS, PHONE_NUMBER, REGISTRATION_TOKEN, AddressForm

CLIENTS = Path(__file__).parents[1] / "clients"


LATENCIES_MS = (0, 50)

InFlight = tuple[int, int]
"""Recipients of one process at each of the latencies."""

SMTP_CONNECTIONS: InFlight = (50, 1_000)
"""Of our worker processes and of each library's alike: a mail holds its connection for as long as it takes."""


@dataclass(frozen=True, slots=True)
class Library:
    """A client library and the program that sends with it."""

    name: str
    program: tuple[str, ...]
    in_flight: InFlight  # the best of a few that were tried on one busy machine, one process alone
    goal: float | None = None  # how many times as many Tidings should deliver

    @property
    def needs_node(self) -> bool:
        return self.program[0] == "node"


@dataclass(frozen=True, slots=True)
class ProviderCase:
    kind: str
    title: str
    server: str  # what answers it: http2sink, http1sink, smtpsink or batches
    counted: str  # as that server counts it
    form: AddressForm
    account: Callable[[str], Account]  # by the server's origin
    libraries: tuple[Library, ...] = ()


def _python(name: str, module: str, in_flight: InFlight, goal: float | None = None) -> Library:
    return Library(name, (sys.executable, "-m", f"tests.benchmarks.clients.{module}"), in_flight, goal)


def _node(name: str, file: str, in_flight: InFlight) -> Library:
    return Library(name, ("node", str(CLIENTS / "node" / file)), in_flight)


OURS = _python("our adapter", "ours", SMTP_CONNECTIONS)  # through SMTP; else adapters declare what they take

AIOAPNS = _python("aioapns", "with_aioapns", (200, 200), goal=5)
FIREBASE_ADMIN = _python("firebase-admin", "with_firebase_admin", (100, 100), goal=20)
TWILIO = _python("twilio, async", "with_twilio", (100, 200), goal=2)
AIOSMTPLIB = _python("aiosmtplib", "with_aiosmtplib", SMTP_CONNECTIONS, goal=3)
NODE_APN = _node("node-apn", "with_node_apn.mjs", (200, 1_000))
NODEMAILER = _node("nodemailer", "with_nodemailer.mjs", SMTP_CONNECTIONS)


def _port(origin: str) -> int:
    return int(origin.rpartition(":")[2])


CASES = (
    ProviderCase("apns", "APNs", "http2sink", "apns", DEVICE_TOKEN, lambda _: accounts.apns(), (AIOAPNS, NODE_APN)),
    ProviderCase("fcm", "FCM", "http2sink", "fcm", REGISTRATION_TOKEN, accounts.fcm, (FIREBASE_ADMIN,)),
    ProviderCase(
        "smtp",
        "SMTP",
        "smtpsink",
        "messages",
        MAIL_ADDRESS,
        lambda origin: accounts.smtp(_port(origin)),
        (AIOSMTPLIB, NODEMAILER),
    ),
    ProviderCase(
        "mailgun",
        "Mailgun",
        "batches",
        "mailgun",
        MAIL_ADDRESS,
        lambda _: accounts.mailer(apiKey="key", domain="tidings.example", isEuRegion=False),
    ),
    ProviderCase(
        "sendgrid", "SendGrid", "batches", "sendgrid", MAIL_ADDRESS, lambda _: accounts.mailer(apiKey="SG.key")
    ),
    ProviderCase("resend", "Resend", "batches", "resend", MAIL_ADDRESS, lambda _: accounts.mailer(apiKey="re_key")),
    ProviderCase(
        "ses",
        "SES",
        "batches",
        "ses",
        MAIL_ADDRESS,
        lambda _: accounts.mailer(accessKey="AKIA", secretKey="secret", region="eu-central-1"),
    ),
    ProviderCase(
        "twilio",
        "Twilio",
        "http1sink",
        "twilio",
        PHONE_NUMBER,
        lambda _: accounts.texter(accountSid="AC" + "0" * 32, authToken="token"),
        (TWILIO,),
    ),
    ProviderCase(
        "vonage",
        "Vonage",
        "http1sink",
        "vonage_sms",
        PHONE_NUMBER,
        lambda _: accounts.texter(apiKey="key", apiSecret="secret"),
    ),
    ProviderCase(
        "telesign",
        "Telesign",
        "batches",
        "telesign",
        PHONE_NUMBER,
        lambda _: accounts.texter(customerId="customer", apiKey="a2V5"),
    ),
    ProviderCase(
        "textmagic",
        "TextMagic",
        "batches",
        "textmagic",
        PHONE_NUMBER,
        lambda _: accounts.texter(username="user", apiKey="key"),
    ),
    ProviderCase(
        "msg91",
        "MSG91",
        "batches",
        "msg91",
        PHONE_NUMBER,
        lambda _: {"templateId": "template", "senderId": "TIDING", "authKey": "key"},
    ),
)
