"""How every endpoint is declared, and the order in which a request is checked before its handler runs.

A handler is an ordinary FastAPI path operation. What it takes is said by its signature: `call` (who is calling),
path parameters, one query model and one body model. FastAPI makes the OpenAPI document of these; at run time this
kernel reads them itself, because the contract wants authentication before validation (§3.1), other error bodies,
`[]` for an empty body, forms, brackets in names (§1), and because it costs some 100 µs of CPU a request where
FastAPI's own path costs 290.
"""

import asyncio
import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import structlog
from fastapi import params
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api import limits
from api.clock import SharedClock
from api.declarations import Content, Declared, Upload
from api.errors import (
    DATABASE_TROUBLE,
    ERROR_HEADERS,
    RETRY_AFTER_SECONDS,
    STATUS_OF,
    Overdue,
    error_body,
    explain_trouble,
)
from api.limits import RateLimit
from api.origins import check_origin
from api.parameters import check, read_parameters, read_query, refusal, within_limit
from api.principals import Directory, KeyHolder, LoggedIn, Principal
from api.quotas import Of, Quotas
from api.tokens import TokenSigner
from api.user_agents import shorten
from shared.aside import whose
from shared.db.queries.keys import ProjectIdentity
from shared.db.queries.user_sessions import UserIdentity
from shared.db.receipt_addresses import ReceiptAddresses
from shared.db.secrets import SecretBox
from shared.errors import NotReachable, RejectedRequest
from shared.files.contents import FileContents
from shared.metrics import REQUESTS_OVERDUE
from shared.providers.transport import Transport
from shared.queue.rings import Ringer
from shared.settings import Settings

log = structlog.get_logger(__name__)

Headers = list[tuple[bytes, bytes]]

WORK_SECONDS = 10.5
"""For the work of a request, reading it not counted: a little more than a statement may take (shared/db/session.py),
so that its own reason is told; where the database stands still it says nothing, and this ends the waiting.
"""

COMES_BACK = frozenset({"general_database_unavailable", "general_storage_unavailable", "installation_not_live"})
"""Errors that are over by themselves or by an operator's hand: the caller is told when to try again."""

JSON_HEADER = (b"content-type", b"application/json; charset=UTF-8")
# SDKs read the content type of a 204 and parse its body if it says JSON (contract §1.1)
NO_CONTENT_HEADER = (b"content-type", b"text/html; charset=UTF-8")


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with; made once per process in api/app.py."""

    settings: Settings
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    contents: FileContents
    secret_box: SecretBox
    tokens: TokenSigner
    receipt_addresses: ReceiptAddresses
    transport: Transport
    clock: SharedClock
    directory: Directory
    quotas: Quotas
    ringer: Ringer
    crowds: dict[int, tuple[float, bool]] = field(default_factory=dict)
    """By project_seq: whether too many of its receipts wait, and until which monotonic second that is believed."""


class Call(Request):
    """A request whose project and caller are known."""

    principal: Principal
    project_or_console: ProjectIdentity | None
    counted: limits.Counted | None = None  # the windows of its rate limit, where it is counted in any

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.answer_headers: Headers = []
        """Sent with whatever is answered, refusals too."""

    @property
    def project(self) -> ProjectIdentity:
        """The project the call is about. Endpoints that ask for a scope always have one."""
        if self.project_or_console is None:
            raise RejectedRequest("project_not_found", "The request names no project in X-Appwrite-Project.")
        return self.project_or_console

    @property
    def user(self) -> UserIdentity:
        """Who is logged in. Keys and guests are nobody."""
        if not isinstance(self.principal, LoggedIn):
            raise RejectedRequest("general_unauthorized_scope", "Only a logged-in user can ask for this.")
        return self.principal.user

    @property
    def user_agent(self) -> str:
        """As far as it is stored and read."""
        return shorten(self.headers.get("user-agent", ""))

    def may(self, permission: str, *granted: Sequence[str]) -> bool:
        """Whether a list of permissions, such as `read("any")`, gives this one to a role of the caller's.

        Keys need none.
        """
        if isinstance(self.principal, KeyHolder):
            return True
        wanted = {f'{permission}("{role}")' for role in self.principal.roles}
        return any(not wanted.isdisjoint(permissions) for permissions in granted)

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """For work that has to be done in WORK_SECONDS: of a whole request, or of a page of one that takes long."""
        try:
            async with asyncio.timeout(WORK_SECONDS):
                yield
        except TimeoutError as error:
            route = getattr(self.scope.get("route"), "path", "unmatched")
            REQUESTS_OVERDUE.labels(route).inc()
            log.warning("request.overdue", route=route, seconds=WORK_SECONDS)
            raise Overdue from error

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services


Answer = BaseModel | Response | None
Answers = type[BaseModel] | Content | None
"""What an answer is declared as."""
Handler = Callable[..., Awaitable[Answer]]
HandlerType = TypeVar("HandlerType", bound=Handler)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler takes. Names are Python's; the path's adapters are keyed by (Python's, the wire's)."""

    path: tuple[tuple[str, str, TypeAdapter[Any]], ...]
    query: tuple[str, type[BaseModel]] | None
    body: tuple[str, type[BaseModel]] | None

    @classmethod
    def of(cls, handler: Handler, path_names: Iterable[str]) -> "Signature":
        hints = get_type_hints(handler, include_extras=True)
        path, query, body = [], None, None
        for name in inspect.signature(handler).parameters:
            hint = hints[name]
            metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
            if hint is Call:
                continue
            if to_camel(name) in path_names:
                path.append((name, to_camel(name), TypeAdapter(hint)))
            elif any(isinstance(entry, params.Query) for entry in metadata):
                query = (name, get_args(hint)[0])
            else:
                body = (name, hint)
        return cls(tuple(path), query, body)

    async def read(self, call: Call) -> dict[str, Any]:
        """The handler's arguments. Raises RejectedRequest naming the first wrong one."""
        arguments: dict[str, Any] = {}
        for name, wire_name, adapter in self.path:
            try:
                arguments[name] = adapter.validate_python(call.path_params[wire_name])
            except ValidationError as error:
                raise refusal(wire_name, "is not an id") from error
        if self.query:
            arguments[self.query[0]] = check(self.query[1], read_query(call))
        if self.body:
            arguments[self.body[0]] = await read_parameters(call, self.body[1])
        return arguments


class Endpoint(APIRoute):
    """One path operation under the contract's rules. An ASGI application of its own."""

    def __init__(self, path: str, handler: Handler, declared: Declared, **names: Any) -> None:
        super().__init__(path, handler, **names, **declared.description_of(handler))
        self.declared = declared
        self._handler = handler
        self._signature = Signature.of(handler, self.param_convertors)
        self.app = self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = self.declared.upload
        limit = upload.max_bytes if upload else scope["app"].state.services.settings.max_body_bytes
        call = Call(scope, within_limit(receive, limit), send)

        send = _with_headers(send, call.answer_headers)
        try:
            answer = await self._answer(call)
        except RejectedRequest as error:
            await send_error(send, error.type, str(error))
        except Overdue:
            await send_error(send, "general_database_unavailable", "The database does not answer. Try again.")
        except DATABASE_TROUBLE as error:
            log.warning("request.database_trouble", error=type(getattr(error, "orig", error)).__name__)
            await send_error(send, "general_database_unavailable", explain_trouble(error))
        except NotReachable as error:
            log.warning("request.storage_trouble", reason=error.message)
            await send_error(send, "general_storage_unavailable", "The file storage does not answer. Try again.")
        except ClientDisconnect:
            return
        else:
            await self._send(answer, scope, receive, send)
        finally:
            await call.close()  # the files of a form

    async def _answer(self, call: Call) -> Answer:
        """The contract's order of checks (§3.1): origin, project, principal, scope, parameters, handler."""
        services = call.services
        check_origin(call, services.settings)
        async with call.bounded():
            call.project_or_console, call.principal = await services.directory.identify(call)
        if call.project_or_console:
            structlog.contextvars.bind_contextvars(project_id=call.project_or_console.id)
            whose.set(call.project_or_console.id)
        if self.declared.scopes and not self.declared.scopes & call.principal.scopes:
            scopes = " or ".join(sorted(self.declared.scopes))
            raise RejectedRequest("general_unauthorized_scope", f"The caller has not the scope {scopes}.")
        if isinstance(call.principal, LoggedIn) and not call.principal.user.is_enabled:
            raise RejectedRequest("user_blocked", "The user is blocked.")
        if isinstance(call.principal, KeyHolder):
            await _spend(call, call.principal)
        if self.declared.limit:
            await self._count(call, self.declared.limit)
        arguments = await self._signature.read(call)
        if self.declared.takes_long:
            return await self._handler(call=call, **arguments)
        async with call.bounded():
            return await self._handler(call=call, **arguments)

    async def _count(self, call: Call, limit: RateLimit) -> None:
        """Keys are counted in no window and never refused (contract §17)."""
        services = call.services
        standing = limits.uncounted(limit, now=await services.clock.now())
        if services.settings.rate_limits and not isinstance(call.principal, KeyHolder):
            call.counted = await limits.find_windows(
                services.engine,
                limit,
                call,
                self.path,
                project_id=call.project.id,
                user_id=call.principal.user.id if isinstance(call.principal, LoggedIn) else "",
                fingerprint=services.tokens.fingerprint,
                largest_file=services.settings.max_file_bytes,
            )
            async with call.bounded():
                standing = await call.counted.count()
        call.answer_headers += standing.headers()
        if standing.is_exceeded:
            seconds = standing.resets_at - (await services.clock.now()).timestamp()
            call.answer_headers.append((b"retry-after", str(max(1, math.ceil(seconds))).encode()))
            raise RejectedRequest(
                "general_rate_limit_exceeded",
                f"More than {standing.limit} calls in {standing.seconds} s; see the headers.",
            )

    async def _send(self, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        match answer:
            case BaseModel():
                await send_body(send, self.declared.status, [JSON_HEADER], answer.model_dump_json().encode())
            case None:
                await send_body(send, self.declared.status, [NO_CONTENT_HEADER], b"")
            case _:
                await answer(scope, receive, send)


async def _spend(call: Call, key: KeyHolder) -> None:
    """Raises RejectedRequest where the key, or all keys of its project, have made their calls of this minute."""
    settings, quotas, project = call.services.settings, call.services.quotas, call.project
    limited: list[tuple[Of, int, int | None, int]] = [
        ("key", key.key_seq, key.calls_per_minute, settings.key_calls_per_minute),
        ("project", project.seq, project.calls_per_minute, settings.project_calls_per_minute),
    ]
    for of, seq, own, usual in limited:
        exceeded = await quotas.spend(of, seq, usual if own is None else own)
        if exceeded:
            call.answer_headers.append((b"retry-after", str(exceeded.seconds).encode()))
            raise RejectedRequest(
                "general_rate_limit_exceeded",
                f"More than {exceeded.calls} calls of this {exceeded.of} in a minute; see Retry-After.",
            )


def _with_headers(send: Send, headers: Headers) -> Send:
    """`headers` may still grow until the answer starts."""

    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return send_more


async def send_body(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())] if status != 204 else headers
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, type_: str, message: str) -> None:
    headers = [JSON_HEADER, *ERROR_HEADERS]
    if type_ in COMES_BACK:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    await send_body(send, STATUS_OF[type_], headers, error_body(type_, message).model_dump_json().encode())


class Routes:
    """The endpoints of one route file, declared by decorators.

    `scope`: what lets a caller in; several: any of them; none: everybody may call. `answers`: the model on success;
    none: 204 without a body. `refusals`: the error types its handler may answer, for the documentation. `takes_long`:
    it reads the request as it comes, or works in pages; it bounds each transaction itself by `call.bounded()`.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self.endpoints: list[Endpoint] = []

    def get(
        self, path: str, *, answers: Answers, scope: str | tuple[str, ...] = (), refusals: Sequence[str] = ()
    ) -> Callable[[HandlerType], HandlerType]:
        return self._declare("GET", path, status=200, answers=answers, scope=scope, refusals=refusals)

    def post(
        self,
        path: str,
        *,
        answers: Answers,
        scope: str | tuple[str, ...],
        refusals: Sequence[str] = (),
        upload: Upload | None = None,
        limit: RateLimit | None = None,
        status: int = 201,
        takes_long: bool = False,
    ) -> Callable[[HandlerType], HandlerType]:
        return self._declare(
            "POST",
            path,
            status=status,
            answers=answers,
            scope=scope,
            refusals=refusals,
            upload=upload,
            limit=limit,
            takes_long=takes_long,
        )

    def put(
        self, path: str, *, answers: Answers, scope: str | tuple[str, ...], refusals: Sequence[str] = ()
    ) -> Callable[[HandlerType], HandlerType]:
        return self._declare("PUT", path, status=200, answers=answers, scope=scope, refusals=refusals)

    def patch(
        self, path: str, *, answers: Answers, scope: str | tuple[str, ...], refusals: Sequence[str] = ()
    ) -> Callable[[HandlerType], HandlerType]:
        return self._declare("PATCH", path, status=200, answers=answers, scope=scope, refusals=refusals)

    def delete(
        self, path: str, *, scope: str | tuple[str, ...], refusals: Sequence[str] = (), takes_long: bool = False
    ) -> Callable[[HandlerType], HandlerType]:
        return self._declare(
            "DELETE", path, status=204, answers=None, scope=scope, refusals=refusals, takes_long=takes_long
        )

    def _declare(
        self,
        method: str,
        path: str,
        *,
        status: int,
        answers: Answers,
        scope: str | tuple[str, ...],
        refusals: Sequence[str],
        upload: Upload | None = None,
        limit: RateLimit | None = None,
        takes_long: bool = False,
    ) -> Callable[[HandlerType], HandlerType]:
        declared = Declared(
            scopes=frozenset((scope,) if isinstance(scope, str) else scope),
            status=status,
            answers=answers,
            refusals=tuple(refusals),
            upload=upload,
            limit=limit,
            takes_long=takes_long,
        )

        def register(handler: HandlerType) -> HandlerType:
            name = getattr(handler, "__name__", "")
            self.endpoints.append(
                Endpoint(
                    path,
                    handler,
                    declared,
                    methods={method},
                    tags=[self._tag],
                    operation_id=to_camel(name),
                    summary=name.replace("_", " ").capitalize(),
                )
            )
            return handler

        return register
