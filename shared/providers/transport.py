"""The one way HTTP requests leave for a provider: what is asked, what comes back, what is known when nothing does."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

BODY_LIMIT_BYTES: Final = 64 * 1024
"""No provider's answer is near as long; what exceeds it is cut off and the reply marked."""


RETRY_AFTER_LIMIT_SECONDS: Final = 6 * 3600.0
"""As libcurl has it. A larger number is a mistake, and one large enough fits no calendar."""


class Request(NamedTuple):
    """Requests of one adapter look alike: pass the same `path` and `headers` objects again wherever they are equal,
    and an implementation may skip whatever it prepared for the one before.
    """

    path: str  # from the slash on, with its query, quoted
    headers: tuple[str, ...]  # "name: value", ASCII; host, length and user agent are added
    body: bytes
    method: str = "POST"
    wanted: tuple[str, ...] = ()  # names of reply headers to hand on, in lower case
    own: tuple[str, ...] = ()  # further headers, of this request alone


class Reply(NamedTuple):
    """The provider answered."""

    status: int
    body: bytes  # at most BODY_LIMIT_BYTES
    retry_after_seconds: float | None = None  # of a Retry-After, at most the limit; read for statuses from 300 on
    is_cut: bool = False  # the body was longer; the rest was not read
    headers: Mapping[str, str] = {}  # those that the request wanted, as far as they came


class Failure(NamedTuple):
    """No answer came, or none that HTTP knows."""

    reason: str  # for people; holds no address, no content
    never_left: bool  # the provider cannot have acted on it: not connected, no TLS, stream refused, not yet sent


class Pool(NamedTuple):
    """How many connections an origin is worth: its requests a second, times seconds to an answer, by streams."""

    connections: int = 10
    streams: int = 100  # on each, where the server speaks HTTP/2; fewer if it announces fewer
    is_careful: bool = False  # one on each connection until an answer shows HTTP/2; again after a failure or a rest
    is_http2: bool = False  # the provider always speaks it, so that requests need no libcurl
    owner: str = ""  # Account.owner: others get connections of their own, so that none waits behind another's requests
    bound_to: str = ""  # where a provider ties a connection to a credential besides: which


class Transport(Protocol):
    """Sends requests to any number of origins, many at a time over few connections.

    It keeps the total timeout for each request from the moment it takes it on, and takes none on that has waited as
    long. It verifies certificates, follows no redirect, knows no proxy and never sends a request twice, not even when a
    kept connection turns out to be dead.
    """

    @property
    def timeout_seconds(self) -> float:
        """From taking a request on to giving it up."""

    def exchange(
        self,
        origin: str,
        requests: Iterator[tuple[int, Request]],
        *,
        pool: Pool | None = None,
        leave_by: float | None = None,
    ) -> AsyncGenerator[list[tuple[int, Reply | Failure]], None]:
        """Send all to `origin` ("https://host:port"), yielding (number, answer) once for each, in bulk as they come.

        Exchanges with the same origin and pool share connections, which are closed after a while without any.
        `leave_by`, by the event loop's clock: what has not left by then does not leave; None: the timeout from now.

        Requests are pulled when there is room for them, so the iterator may render them at the last moment; it must
        not raise. Leaving the iteration early abandons what is in flight.
        """

    async def aclose(self) -> None:
        """Close the connections; what is in flight is answered with a Failure. Safe to call twice."""
