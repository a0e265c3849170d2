"""The side door: `/healthz` and `/readyz` for whoever watches the process, `/metrics` for Prometheus.

A few lines of HTTP/1.1 over asyncio, for GET and HEAD alone: one request per connection, a bounded
head, a bounded number of connections, and not longer than a few seconds for any of it. Nothing that
can be reached here changes anything.

Whoever asks is answered, also behind a crowd that only stands there: when there are too many, the one
that came first is put out. A probe that were refused instead would have the server restarted.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping

from perdure.api.errors import Rejected
from perdure.frontend.grpc import bounds
from perdure.frontend.grpc.peer import address_of, subject_of

Page = Callable[[], tuple[int, str, str]]
"""Status, content type and text of a page."""

Guard = Callable[[str, str, str, str], Awaitable[None]]
"""Given path, the header `authorization`, the subject of the certificate shown, and the address. Raises Rejected."""

_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
_PLAIN = "text/plain; charset=utf-8"


class SideDoor:
    """Serves `pages` by path."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self._guards: dict[str, Guard] = {}
        self._server: asyncio.Server | None = None
        self._here: dict[asyncio.StreamWriter, None] = {}
        """Connections that are not answered, the oldest first."""

    def guard(self, path: str, guard: Guard) -> None:
        """Ask before this page is shown."""
        self._guards[path] = guard

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen. Returns the port that was taken. Raises OSError when it is not free."""
        self._server = await asyncio.start_server(
            *(self._serve, host, port),
            limit=bounds.HTTP_HEAD_BYTES_MAX,
            backlog=bounds.HTTP_BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else bounds.HTTP_REQUEST_S_MAX,
        )
        return self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._make_room()
        self._here[writer] = None
        writer.transport.set_write_buffer_limits(0)  # an answer that is drained is out of this process
        try:
            async with asyncio.timeout(bounds.HTTP_REQUEST_S_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head, writer.transport))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # whoever asked has left, is too slow, or says too much: there is nobody to tell
        finally:
            self._here.pop(writer, None)
            writer.close()

    def _make_room(self) -> None:
        """Put the oldest out when there are too many."""
        if len(self._here) >= bounds.HTTP_CONNECTIONS_MAX:
            oldest = next(iter(self._here))
            del self._here[oldest]
            oldest.transport.abort()

    async def _answer(self, head: bytes, transport: asyncio.BaseTransport) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        page = self._pages.get(path)
        if method not in (b"GET", b"HEAD"):
            status, kind, text = 405, _PLAIN, "only GET is understood here\n"
        elif page is None:
            status, kind, text = 404, _PLAIN, f"there are {', '.join(self._pages)}\n"
        elif not await self._may_see(path, head, transport):
            status, kind, text = 403, _PLAIN, "Request unauthorized.\n"
        else:
            status, kind, text = page()
        body = text.encode()
        lines = (
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == b"HEAD" else body)

    async def _may_see(self, path: str, head: bytes, transport: asyncio.BaseTransport) -> bool:
        guard = self._guards.get(path)
        if guard is None:
            return True
        try:
            await guard(path, _authorization(head), subject_of(transport), address_of(transport))
        except Rejected:
            return False
        return True


def _authorization(head: bytes) -> str:
    """The header of that name; "" without one, and with more than one, which would be read differently by others."""
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    found = [value.strip().decode("latin-1") for name, _, value in lines if name.lower() == b"authorization"]
    return found[0] if len(found) == 1 else ""
