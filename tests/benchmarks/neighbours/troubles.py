"""What may befall one account, and what one customer may send, that its neighbours must not feel.

A further trouble is a line of TROUBLES, a further hostile input one of HOSTILE_INPUTS.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.neighbours.installation import Owner, pattern_of


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong with the server of an account."""

    name: str
    profile: Callable[[str], Mapping[str, Any]]  # kind -> the simulator's fields
    is_of_the_addresses: bool = False  # then the account itself is well, and serves other people
    is_of_the_port: bool = False  # then it befalls all accounts of the kind, but for SMTP, where each has its server

    def faults(self, kind: str) -> Mapping[str, Any]:
        """For the troubled account's people alone, where that can be."""
        scope = {} if self.is_of_the_port else {"recipients": pattern_of(kind, Owner.TROUBLED)}
        return {**self.profile(kind), **scope}

    def spares_others_of(self, kind: str) -> bool:
        return kind == "smtp" or not self.is_of_the_port


def _always(**fields: Any) -> Callable[[str], Mapping[str, Any]]:
    return lambda _kind: fields


def _calling_all_bad(kind: str) -> Mapping[str, Any]:
    return {"fcm": {"foreign_rate": 1}, "apns": {"invalid_rate": 1}}.get(kind, {"dead_rate": 1})


CONTROL = Trouble("none, busy", _always())
"""What the same load costs the others where nothing is wrong; nothing is asked of it."""

TROUBLES = (
    CONTROL,
    Trouble("silent", _always(silent_rate=1)),
    Trouble("slow", _always(latency_ms=8_000)),
    Trouble("dripping", _always(slow_rate=1, slow_as="bytes", slow_seconds=60)),
    Trouble("refusing", _always(throttle_rate=0.5, server_error_rate=0.5)),
    Trouble("foreign", _calling_all_bad, is_of_the_addresses=True),
    Trouble("nonsense", _always(dropped_rate=1, dropped_as="garbage")),
    Trouble("endless", _always(dropped_rate=1, dropped_as="endless")),
    Trouble("cutting", _always(silent_rate=1, silent_as="cut")),
    Trouble("unreachable", _always(opening="refused"), is_of_the_port=True),
    Trouble("resetting", _always(opening="reset"), is_of_the_port=True),
    Trouble("mute", _always(opening="silent"), is_of_the_port=True),
)


def trouble(name: str) -> Trouble:
    return next(one for one in TROUBLES if one.name == name)


@dataclass(frozen=True, slots=True)
class HostileInput:
    """A message that is meant to cost more than it should. The API may refuse it: then nobody feels it either."""

    name: str
    kind: str  # of the account that it is sent through
    content: Mapping[str, Any]


HTML_CHARACTERS = 63_000
"""Just below the longest content that a message may have."""


def _html(shape: str, *, before: str = "", after: str = "") -> Mapping[str, Any]:
    return {"html": True, "content": before + shape * (HTML_CHARACTERS // len(shape)) + after}


def _mail(name: str, content: Mapping[str, Any], kind: str = "smtp") -> HostileInput:
    return HostileInput(name, kind, content)


def _everybody(kind: str) -> Mapping[str, Any]:
    """A hundred recipients, and each of their mails with copies to eighty more."""
    ids = [f"{kind}_{Owner.TROUBLED}-{number}" for number in range(1, 181)]
    return {"content": "x", "targets": ids[:100], "cc": ids[100:140], "bcc": ids[140:180]}


HOSTILE_INPUTS = (
    _mail("html: tags never closed", _html("<a ")),
    _mail("html: quotes never closed", _html('<a b="')),
    _mail("html: comments never closed", _html("<!--")),
    _mail("html: declarations never closed", _html("<![word x]")),
    _mail("html: end tags never closed", _html("</a ")),
    _mail("html: processing never closed", _html("<?")),
    _mail("html: nested a thousandfold", _html("<div>")),
    _mail("html: nested lists", _html("<ul><li>")),
    _mail("html: tables in tables", _html("<table><tr><td>")),
    _mail("html: one tag of many attributes", _html("a=b ", before="<p ", after=">x")),
    _mail("html: script never closed", _html("</scrip", before="<script>")),
    _mail("html: text area of markup", _html("</textare", before="<textarea>")),
    _mail("html: references", _html("&#38")),
    _mail("html: unknown references", _html("&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
    _mail("html: blanks and breaks", _html(" \n\t\u00a0")),
    _mail("html: anchors with addresses", _html('<a href="x">')),
    _mail("html: through SendGrid", _html("<a "), "sendgrid"),
    _mail("html: through SES", _html("<a "), "ses"),
    _mail("template: braces", {"content": "{{" * (HTML_CHARACTERS // 2)}),
    _mail("template: nested names", {"content": "{{a" * 10_000 + "}}" * 10_000}),
    _mail("template: recipient variables", {"content": "%recipient.a%" * 4_000}, "mailgun"),
    _mail("text: one endless line", {"content": "x" * HTML_CHARACTERS}),
    _mail("text: dots", {"content": "\n." * (HTML_CHARACTERS // 2)}),
    _mail("subject: encoded words", {"subject": "=?utf-8?q?" * 90, "content": "x"}),
    _mail("recipients: each with eighty copies", _everybody("smtp")),
    _mail("recipients: the same, many a call", _everybody("sendgrid"), "sendgrid"),
    HostileInput("sms: accents and escapes", "twilio", {"content": "€[" * 20_000}),
    HostileInput("sms: emoji", "vonage", {"content": "👩‍👩‍👧‍👦" * 2_000}),
    HostileInput("push: deep data", "fcm", {"body": "x", "data": {"a": "[" * 3_000}}),
    HostileInput("push: emoji beyond 4 kB", "apns", {"body": "👨‍👩‍👧" * 3_000}),
)
