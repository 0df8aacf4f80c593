"""What an answer must be, whatever was asked: Schemathesis' own checks, ours, and the reason of each one left out."""

import json
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.transport import Response
from schemathesis.generation.meta import FuzzingPhaseData, TestPhase
from schemathesis.openapi.checks import EnsureResourceAvailability

from api.openapi import SECURITY_SCHEMES

AnyCase = Case[Any]

LEFT_OUT = {
    "unsupported_method": "an unknown method of a known path is an unknown route, 404 (contract §3.1)",
    "allow_header_conformance": "likewise: there is no 405 that would carry Allow",
    "not_a_server_error": "nothing_breaks() knows the one 503 that the contract asks for",
    "positive_data_acceptance": "what_is_described_is_valid() asks more narrowly",
    "ignored_auth": "strangers_are_refused() asks it of every kind of caller",
}

CONTENT_COUNTS = {
    "POST /v1/tidings/imports": "whether a text is a contact file is not for its description to say",
}

CREDENTIALS = {name: str(scheme["name"]) for name, scheme in SECURITY_SCHEMES.items()}
"""Headers by the names that the description has for them."""

SCOPELESS = "scopeless-"
"""How keys without any scope begin; every key has `health.read`."""

LONGEST_ADDRESS = 65_535
"""Bytes; the HTTP parser, below the API, takes no more and answers 400 in plain text."""


def type_of(answer: Response) -> str | None:
    """The contract's word for an error; None: it is none, or has no body."""
    return str(json.loads(answer.text)["type"]) if answer.status_code >= 400 else None


def is_a_fault(failure: Failure, case: AnyCase, answer: Response) -> bool:
    """Whether a failed check is about us at all."""
    if len(str(answer.request.url)) > LONGEST_ADDRESS:
        return False
    if isinstance(failure, EnsureResourceAvailability):
        return case.method != "POST"  # there it may be missing what the body names, not what the path does
    meant_to_break = case.meta and case.meta.phase.data
    broke_nothing = isinstance(meant_to_break, FuzzingPhaseData) and not meant_to_break.mutations
    return not (isinstance(failure, AcceptedNegativeData) and broke_nothing)


@schemathesis.check
def nothing_breaks(_context: CheckContext, answer: Response, _case: AnyCase) -> None:
    """A queue that is longer than the caller's threshold is no fault (contract §17)."""
    assert answer.status_code < 500 or type_of(answer) == "health_queue_size_exceeded", answer.text


@schemathesis.check
def what_is_described_is_valid(_context: CheckContext, answer: Response, case: AnyCase) -> None:
    """Whoever follows the description is not told that a parameter is wrong.

    Other refusals are about what else there is: who calls, what exists, whether a message names anybody. A walk takes
    ids from wherever it finds them, `unique()` among them.
    """
    meta = case.meta
    if meta is None or meta.phase.name is TestPhase.STATEFUL or case.operation.label in CONTENT_COUNTS:
        return
    if meta.generation.mode is GenerationMode.POSITIVE:
        assert type_of(answer) != "general_argument_invalid", answer.text


@schemathesis.check
def strangers_are_refused(_context: CheckContext, answer: Response, case: AnyCase) -> None:
    """Before anything is said about what they send (contract §3.1)."""
    operation = case.operation.definition.raw
    if str(answer.request.headers.get(CREDENTIALS["Key"])).startswith(SCOPELESS):
        may_call = operation.get("x-scope") in {None, "health.read"}
    else:
        brought = {name for name, header in CREDENTIALS.items() if header in answer.request.headers}
        may_call = not operation["security"] or any(needed.keys() <= brought for needed in operation["security"])
    assert may_call or answer.status_code == 401, f"{answer.status_code}: {answer.text}"
