"""Which web pages may call: the origin check (contract §3.1) and the CORS headers browsers ask for (§2)."""

from urllib.parse import urlsplit

from starlette.requests import Request

from shared.errors import RejectedRequest
from shared.settings import Settings

_ALWAYS_ALLOWED = frozenset({"localhost", "127.0.0.1", "::1"})

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
    """Pages on this machine always are; others when the operator lists their host."""
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return False
    return host is not None and (host in _ALWAYS_ALLOWED or host in settings.allowed_hosts())


def check_origin(request: Request, settings: Settings) -> None:
    """A page of a host we do not know may call only with an API key."""
    origin = request.headers.get("origin")
    if origin and not request.headers.get("x-appwrite-key") and not is_allowed(origin, settings):
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
