"""Which web pages may call: the origin check (contract §3.1) and the CORS headers browsers ask for (§2)."""

import re

from starlette.requests import Request

from api.principals import may_be_a_key
from shared.errors import RejectedRequest
from shared.settings import Settings

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
"""As browsers write one (RFC 6454 §6.2) and nothing else: no user, no path, no backslash. Groups: scheme and host."""

_ALWAYS_ALLOWED = frozenset({"localhost", "127.0.0.1", "[::1]"})

_METHODS = "GET, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS = ", ".join(
    (
        *("Content-Type", "Accept", "Origin", "Cookie", "Set-Cookie", "Range", "Content-Range", "Cache-Control"),
        *("Expires", "Pragma", "X-Requested-With", "X-Forwarded-For", "X-Forwarded-User-Agent"),
        *("X-Fallback-Cookies", "X-SDK-Name", "X-SDK-Platform", "X-SDK-Language", "X-SDK-Version"),
        *(f"X-Appwrite-{name}" for name in ("Project", "Key", "JWT", "Session", "Mode", "Locale", "ID", "Timestamp")),
        *(f"X-Appwrite-{name}" for name in ("Response-Format", "Dev-Key", "Organization", "User")),
        *(f"X-Appwrite-Impersonate-User-{name}" for name in ("Id", "Email", "Phone")),
    )
)
_EXPOSED_HEADERS = "X-Appwrite-Session, X-Fallback-Cookies"


def is_allowed(origin: str, settings: Settings) -> bool:
    """Pages on this machine always are; others when the operator lists their host, or this very origin."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return False
    scheme, host = match[1].lower(), match[2].lower()
    allowed = {entry.lower() for entry in settings.allowed_hosts()}
    is_listed = host in allowed and scheme in ("http", "https")
    return host in _ALWAYS_ALLOWED or is_listed or origin.lower() in allowed


def is_of_another_host(request: Request) -> bool:
    """Whether a page calls that was not loaded from the host that it calls."""
    origin = request.headers.get("origin")
    if not origin:
        return False
    page, called = _ORIGIN.fullmatch(origin), _ORIGIN.fullmatch(f"http://{request.headers.get('host', '')}")
    return page is None or called is None or page[2].lower() != called[2].lower()


def check_origin(request: Request, settings: Settings) -> None:
    """A page of a host we do not know may call only with an API key."""
    origin = request.headers.get("origin")
    # a key of a form that we do not know makes a guest or lets the session count: no page gets in with it
    has_key = may_be_a_key(request.headers.get("x-appwrite-key", ""))
    if origin and not has_key and not is_allowed(origin, settings):
        raise RejectedRequest(
            "general_unknown_origin", "Pages of this origin may not call. Add its host to TIDINGS_ALLOWED_ORIGINS."
        )


def cors_headers(origin: str, settings: Settings) -> list[tuple[bytes, bytes]]:
    """What lets a browser hand our answer to the page; nothing for an origin that is not allowed."""
    if not is_allowed(origin, settings):
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-allow-methods", _METHODS.encode()),
        (b"access-control-allow-headers", _REQUEST_HEADERS.encode()),
        (b"access-control-expose-headers", _EXPOSED_HEADERS.encode()),
    ]
