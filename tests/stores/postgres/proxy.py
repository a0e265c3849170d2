"""A wire to PostgreSQL that a test can cut, at a moment of its choice, without the database noticing it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Carries bytes between clients and a server.

    Attributes:
        refuses: connections are closed as soon as they are made.
        cut_at: a text. Once a client sends it, its connection is cut; see `carries_last`.
        carries_last: the server still gets what had the text in it, but its answer goes nowhere.
        cuts: how many connections were cut.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._pairs: set[_Client] = set()
        self.refuses = False
        self.cut_at: bytes | None = None
        self.carries_last = True
        self.cuts = 0
        self.port = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Client(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for pair in list(self._pairs):
            pair.end(with_server=True)
        self._pairs.clear()
        await self._server.wait_closed()

    def cut_all(self) -> None:
        """Every connection; the database is told nothing."""
        for pair in list(self._pairs):
            pair.end(with_server=False)

    async def connect(self, client: _Client) -> None:
        await asyncio.get_running_loop().create_connection(lambda: _Back(client), *self._target)

    def begin(self, client: _Client) -> bool:
        self._pairs.add(client)
        return not self.refuses

    def is_to_be_cut(self, data: bytes) -> bool:
        if self.cut_at is None or self.cut_at not in data:
            return False
        self.cut_at = None
        self.cuts += 1
        return True


class _Client(asyncio.Protocol):
    """The side of a client."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._waiting: list[bytes] = []
        self._connecting: asyncio.Task[None] | None = None
        self._is_cut = False
        self.transport: asyncio.Transport | None = None
        self.back: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self._proxy.begin(self):
            self._connecting = asyncio.get_running_loop().create_task(self._proxy.connect(self))
        else:
            transport.abort()

    def back_made(self, transport: asyncio.Transport) -> None:
        self.back = transport
        for data in self._waiting:
            transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self._is_cut:
            return
        if self._proxy.is_to_be_cut(data):
            if self._proxy.carries_last and self.back is not None:
                self.back.write(data)
            self.end(with_server=False)
        elif self.back is None:
            self._waiting.append(data)
        else:
            self.back.write(data)

    def end(self, with_server: bool) -> None:
        self._is_cut = True
        for transport in (self.transport, self.back if with_server else None):
            if transport is not None:
                transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._is_cut:
            self.end(with_server=True)


class _Back(asyncio.Protocol):
    """The side of the server."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def connection_made(self, transport: Any) -> None:
        self._client.back_made(transport)

    def data_received(self, data: bytes) -> None:
        transport = self._client.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._client.transport is not None:
            self._client.transport.abort()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the server of a URL, and the URL that leads through it."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    proxy = Proxy(parts.hostname, parts.port)
    await proxy.start()
    try:
        yield proxy, urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{proxy.port}"))
    finally:
        await proxy.stop()
