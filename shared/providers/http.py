"""The transport that adapters get: HTTP/2 connections of our own where a pool asks for them, libcurl for the rest."""

from shared.providers.curl import CurlTransport
from shared.providers.http2 import Http2Transport
from shared.providers.line_transport import Line
from shared.providers.transport import Pool


class HttpTransport(CurlTransport, Http2Transport):
    """Opens the lines of either."""

    def open_line(self, origin: str, pool: Pool) -> Line:
        is_ours = pool.is_http2 and origin.startswith("https:")
        return Http2Transport.open_line(self, origin, pool) if is_ours else CurlTransport.open_line(self, origin, pool)
