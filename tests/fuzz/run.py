"""One run of Schemathesis' engine: by whom, with what, and everything that was answered wrongly."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import schemathesis
from schemathesis import BaseSchema, GenerationMode, HookContext, engine
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.engine import events

from tests.fuzz import formats
from tests.fuzz.judging import LEFT_OUT, AnyCase, is_a_fault
from tests.fuzz.project import Project

TWINS = r"/providers/(resend|sendgrid|ses|telesign|textmagic|vonage)"
"""Kinds of providers whose parameters differ from those of mailgun and twilio in little but their names."""

PHASES = ("examples", "coverage", "fuzzing", "stateful")


@dataclass(frozen=True, slots=True)
class Effort:
    """The same seed makes the same requests. `examples`: random requests to each operation, or walks through all."""

    seed: int
    examples: int
    is_brief: bool


def read_description(project: Project, who: str, effort: Effort, *phases: str) -> BaseSchema:
    """What the API serves about itself, to be tried by one kind of caller."""
    formats.register()
    config = SchemathesisConfig.from_dict(
        {
            "seed": effort.seed,
            "base-url": project.address,
            "headers": dict(project.people[who]),
            "checks": {name: {"enabled": False} for name in LEFT_OUT},
            "continue-on-failure": True,
            "generation": {
                "max-examples": effort.examples,
                "with-security-parameters": False,  # callers bring their own
                "allow-x00": False,  # refused everywhere, which JSON Schema has no short word for: test_transport.py
                "database": "none",
            },
            "phases": {
                **{name: {"enabled": name in phases} for name in PHASES},
                "coverage": {"enabled": "coverage" in phases, "unexpected-methods": []},  # see LEFT_OUT
            },
            "analysis": {"constants": {"enabled": False}},
        }
    )
    description: BaseSchema = schemathesis.openapi.from_url(f"{project.address}/openapi.json", config=config)
    if effort.is_brief:
        description = description.exclude(path_regex=TWINS)

    @description.hook
    def map_case(_context: HookContext, case: AnyCase) -> AnyCase:
        project.name_things(case)
        is_positive = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
        if is_positive and case.media_type == "application/json":
            case.body = _with_integers(case.body)
        return case

    @description.hook
    def filter_failure(_context: HookContext, failure: Failure, case: AnyCase, answer: Response) -> bool:
        return is_a_fault(failure, case, answer)

    return description


def _with_integers(body: Any) -> Any:
    """1.0 is an integer to JSON Schema, but not to the contract (§5)."""
    match body:
        case float() if body.is_integer():
            return int(body)
        case dict():
            return {name: _with_integers(value) for name, value in body.items()}
        case list():
            return [_with_integers(value) for value in body]
    return body


def find_faults(description: BaseSchema) -> str:
    """Every wrong answer with the request that shows it."""
    return "\n\n".join(fault for event in engine.from_schema(description).execute() for fault in _faults_of(event))


def _faults_of(event: events.EngineEvent) -> Iterator[str]:
    match event:
        case events.ScenarioFinished():
            for check in (check for checks in event.recorder.checks.values() for check in checks):
                if check.failure_info is not None:
                    yield f"{event.recorder.label}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
        case events.NonFatalError():
            yield f"{event.label}: {event.value}"
        case events.FatalError():
            raise event.exception
