"""Connections that read: a few, made when they are needed, each for one statement at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from perdure.stores.api import StoreError
from perdure.stores.postgres.door import Door
from perdure.stores.postgres.driver import Connection
from perdure.stores.postgres.errors import is_lost, store_error
from perdure.stores.sql.waiting import Patience

_log = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""How long a read waits for a database that cannot be reached, before it is told so."""


class Busy(Exception):
    """Too many wait for a connection already."""


class Readers:
    """So many connections, and so many statements that wait for one of them."""

    def __init__(self, door: Door, connections: int, waiting_max: int, patience_s: float = PATIENCE_S) -> None:
        self._door = door
        self._places = asyncio.Semaphore(connections)
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting_max = waiting_max
        self._waiting = 0
        self._patience_s = patience_s
        self._is_closed = False

    async def fetch(self, sql: str, *args: Any) -> list[Sequence[Any]]:
        """The rows of a statement, which is asked again if its connection is lost.

        Raises StoreError when the database cannot be reached, Busy, TimeoutError when the statement takes too long, and
        the driver's other errors.
        """
        patience: Patience | None = None
        while True:
            try:
                async with self._connection() as connection:
                    return await self._door.fetch(connection, sql, args)
            except Exception as error:
                if isinstance(error, TimeoutError) or not is_lost(error):
                    raise
                self._check_open()
                patience = patience or Patience(self._patience_s)
                if patience.is_over or self._door.reach.is_cut:
                    raise store_error(error, self._door.settings) from error
                await patience.pause()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection]:
        if self._waiting >= self._waiting_max:
            raise Busy
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            self._check_open()
            connection = self._idle.pop() if self._idle else None
            if connection is None or connection.is_closed():
                connection = await self._door.connect("read")
                self._all.add(connection)
            try:
                yield connection
            except BaseException as error:
                if is_lost(error) or isinstance(error, asyncio.CancelledError):  # an answer may be on its way
                    connection.terminate()
                raise
            finally:
                if connection.is_closed():
                    self._all.discard(connection)
                else:
                    self._idle.append(connection)
        finally:
            self._places.release()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreError("The store was closed while it was read.")

    async def close(self) -> None:
        """End all connections, whatever they do."""
        self._is_closed = True
        connections, self._all, self._idle = self._all, set(), []
        for connection in connections:
            connection.terminate()
