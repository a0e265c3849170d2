"""Connections that read: a few, made when they are needed, each for one text at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from perdure.stores.api import StoreError
from perdure.stores.mysql.door import Door
from perdure.stores.mysql.driver import Answer, Connection, errno
from perdure.stores.mysql.errors import DEADLOCK, is_lost, store_error
from perdure.stores.sql.waiting import Patience

PATIENCE_S = 10.0
"""How long a read waits for a database that cannot be reached, before it is told so."""


class Busy(Exception):
    """Too many wait for a connection already."""


class Readers:
    """So many connections, and so many texts that wait for one of them."""

    def __init__(self, door: Door, connections: int, waiting_max: int) -> None:
        self.door = door
        self._places = asyncio.Semaphore(connections)
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiting_max = waiting_max
        self._waiting = 0
        self._is_closed = False

    async def query(self, text: bytes) -> list[Answer]:
        """The answers of the statements of a text, which is asked again if its connection is lost, or it was ended for
        the sake of a write.

        Raises StoreError when the database cannot be reached, Busy, TimeoutError when it takes too long, and the
        driver's other errors.
        """
        patience: Patience | None = None
        while True:
            try:
                async with self._connection() as connection:
                    return await self.door.query(connection, text)
            except Exception as error:
                is_late = isinstance(error, TimeoutError) and patience is None and bool(self._all)
                if is_late or not (is_lost(error) or errno(error) == DEADLOCK):
                    raise
                self._check_open()
                patience = patience or Patience(PATIENCE_S)
                if patience.is_over or self.door.reach.is_cut:
                    raise store_error(error, self.door.settings) from error
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
            if connection is None or connection.is_closed:
                connection = await self.door.connect()
                self._all.add(connection)
            try:
                yield connection
            except BaseException as error:
                if is_lost(error) or isinstance(error, asyncio.CancelledError):  # an answer may be on its way
                    connection.terminate()
                raise
            finally:
                if connection.is_closed or self._is_closed:
                    connection.terminate()
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
        connections, idle, self._all, self._idle = self._all, self._idle, set(), []
        await asyncio.gather(*(connection.close() for connection in connections if connection in idle))
        for connection in connections:
            connection.terminate()
        await asyncio.sleep(0)  # the event loop lets go of what was terminated
