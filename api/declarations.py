"""What an endpoint declares beside its handler, and how that reads in the served description of the API."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, get_type_hints

from pydantic import BaseModel
from starlette.responses import Response

from api.errors import STATUS_OF, ErrorModel
from api.limits import RateLimit
from api.principals import GUEST_SCOPES, USER_SCOPES

Described = dict[str, Any]

# What any endpoint may answer before its handler runs (contract §3), by what it declares
_OF_ALL = (
    "user_unauthorized",
    "user_jwt_invalid",
    "project_key_expired",
    "general_unknown_origin",
    "project_id_missing",
    "user_jwt_and_cookie_set",
    "user_blocked",
    "project_not_found",
)
_OF_SCOPES = ("general_unauthorized_scope",)
_OF_PARAMETERS = ("general_argument_invalid",)
_OF_LISTS = ("general_query_invalid", "general_cursor_not_found", "database_query_order_null")
_OF_BODIES = ("general_body_too_large",)
_OF_LIMITS = ("general_rate_limit_exceeded",)

_TROUBLE = "`general_unknown`, `general_database_unavailable`: nothing the caller did; it may be tried again"

_LIMIT_HEADERS = {
    "X-RateLimit-Limit": "Calls in a window",
    "X-RateLimit-Remaining": "Calls left in this window",
    "X-RateLimit-Reset": "Unix second at which the window ends",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is no parameters but a file: the handler reads `call.stream()` itself."""

    media_type: str
    max_bytes: int
    fields: Mapping[str, Any] = field(default_factory=dict)  # of a form, as JSON schemas
    required: tuple[str, ...] = ()

    def description(self) -> Described:
        form = {"type": "object", "properties": dict(self.fields), "required": list(self.required)}
        content = {self.media_type: {"schema": form if self.fields else {"type": "string"}}}
        return {"required": True, "content": content}


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is no model: the handler makes the response itself."""

    media_type: str
    has_parts: bool = False  # a range of it may be asked for

    def descriptions(self) -> Iterator[tuple[int, Described]]:
        content = {self.media_type: {"schema": {"type": "string"}}}
        yield 200, {"description": "The content", "content": content}
        if self.has_parts:
            yield 206, {"description": "The part that the header Range asks for", "content": content}


@dataclass(frozen=True, slots=True)
class Declared:
    """`scopes`: any one of them lets a caller in; none: everybody may call. `answers` None: no content."""

    scopes: frozenset[str]
    status: int
    answers: type[BaseModel] | Content | None
    refusals: tuple[str, ...] = ()
    upload: Upload | None = None
    limit: RateLimit | None = None
    takes_long: bool = False  # it works in pages, each of which is bounded by itself

    def description_of(self, handler: Callable[..., Any]) -> Described:
        """In FastAPI's words."""
        described: Described = {
            "status_code": self.status,
            "response_description": HTTPStatus(self.status).phrase,
            "description": "\n\n".join(filter(None, (inspect.getdoc(handler), self._callers()))),
            "responses": self._responses(handler),
            "openapi_extra": self._extra(),
        }
        if isinstance(self.answers, Content):
            return {**described, "response_model": None, "response_class": Response}
        return {**described, "response_model": self.answers}

    def _callers(self) -> str:
        if not self.scopes:
            return "Everybody may call."
        return f"Scope: {' or '.join(f'`{scope}`' for scope in sorted(self.scopes))}."

    def _responses(self, handler: Callable[..., Any]) -> dict[int | str, Described]:
        described: dict[int | str, Described] = {}
        if isinstance(self.answers, Content):
            described.update(self.answers.descriptions())
        for type_ in dict.fromkeys((*self.refusals, *self._common_refusals(handler))):
            refused = described.setdefault(STATUS_OF[type_], {"model": ErrorModel, "description": ""})
            refused["description"] += f"{', ' if refused['description'] else ''}`{type_}`"
        described["5XX"] = {"model": ErrorModel, "description": _TROUBLE}
        if self.limit:
            headers = {
                name: {"description": text, "schema": {"type": "integer"}} for name, text in _LIMIT_HEADERS.items()
            }
            for status in (self.status, 429):
                described.setdefault(status, {})["headers"] = headers
        return described

    def _common_refusals(self, handler: Callable[..., Any]) -> Iterator[str]:
        parameters = get_type_hints(handler)
        yield from _OF_ALL
        if self.scopes:
            yield from _OF_SCOPES
        if len(parameters.keys() - {"call", "return"}) or self.upload:
            yield from _OF_PARAMETERS
        if any("queries" in getattr(hint, "model_fields", ()) for hint in parameters.values()):
            yield from _OF_LISTS
        if "body" in parameters or self.upload:
            yield from _OF_BODIES
        if self.limit or self._is_for_keys():
            yield from _OF_LIMITS

    def _is_for_keys(self) -> bool:
        return bool(self.scopes) and self.scopes != {"account"}

    def _extra(self) -> Described:
        extra: Described = {"security": _security(self.scopes)}
        if self.scopes:
            extra["x-scope"] = " | ".join(sorted(self.scopes))
        if self.upload:
            extra["requestBody"] = self.upload.description()
        return extra


def _security(scopes: frozenset[str]) -> list[dict[str, list[str]]]:
    """Which credentials can bring one of these scopes; the account is the logged-in user's alone."""
    if not scopes:
        return []
    names = [] if scopes == {"account"} else ["Key"]
    if scopes & USER_SCOPES:
        names += ["Session", "JWT"]
    alternatives: list[dict[str, list[str]]] = [{"Project": [], name: []} for name in names]
    return [*alternatives, {"Project": []}] if scopes & GUEST_SCOPES else alternatives
