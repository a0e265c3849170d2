"""Notices between the engines on one database: rows of a small table, which every engine looks at now and then.

MySQL cannot tell a connection anything that it did not ask for. So each engine asks: often while there is something to
hear or to tell, more and more seldom while there is not. What is told is heard after 10 ms on average while the fleet
talks, and after half a second, at worst a second, when it has been silent for some time.

A row's number is given out before it is committed. So a number that is missing between two that were read is asked
for again, until it is sure that it will not come.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence

from perdure.stores.api import Hear, StoreError
from perdure.stores.mysql.door import Door
from perdure.stores.mysql.driver import Connection
from perdure.stores.mysql.errors import is_lost, is_transient, store_error
from perdure.stores.mysql.literals import Raw, Rows, rows, statement
from perdure.stores.sql.waiting import Patience

_log = logging.getLogger(__name__)

OFTEN_S = 0.02
SELDOM_S = 1.0
_SLOWER = 2.0
"""How much longer each pause is than the one before it, while nothing is heard or told."""
_FASTER = 8.0
"""How much shorter, when something is heard: one word in a silent fleet makes nobody hurry."""
KEPT_S = 120.0
"""How long a notice can be read; who was away for longer may have missed some."""
_FORGET_S = 30.0
_LATE_S = 2.0
"""A number that is missing for so long does not come any more."""
_MISSING_MAX = 1_000
_PAGE = 1_000
_NOW = Raw(b"CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)")


class Notices:
    """One connection for all channels, which hears and tells."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._sender = secrets.token_bytes(8)
        self._listeners: dict[str, list[Hear]] = {}
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._wanted = asyncio.Event()
        """Set: look soon."""
        self._last = -1
        self._missing: dict[int, float] = {}
        """Numbers, and until when they may come."""
        self._heard_at = 0.0
        self._forgot_at = time.monotonic()
        self._has_told = False
        """Since it last took away what is old: who tells also tidies up."""
        self._task: asyncio.Task[None] | None = None

    async def listen(self, channel: str, hear: Hear) -> None:
        """Have `hear` called from now on; what was told before this returns may be missed. Raises StoreError."""
        self._listeners.setdefault(channel, []).append(hear)
        if self._task is None:
            await self._query(b"DO 0")  # connects, and finds where to begin
            self._task = asyncio.get_running_loop().create_task(self._run(), name="Notices")

    async def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        """Tell the others. Raises StoreError."""
        if not notices:
            return
        await self._query(statement("tell")(rows((_NOW, self._sender, channel, notice) for notice in notices)))
        self._has_told = True
        self._wanted.set()  # an answer may come

    async def close(self) -> None:
        """Hear nothing more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._listeners.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _query(self, text: bytes) -> Rows:
        """The rows of a statement. Raises StoreError."""
        async with self._turn:
            try:
                if self._connection is None or self._connection.is_closed:
                    await self._connect()
                assert self._connection is not None
                return (await self._door.query(self._connection, text))[0].rows
            except BaseException as error:
                if self._connection is not None and (not isinstance(error, Exception) or is_lost(error)):
                    self._connection.terminate()
                    self._connection = None
                if not isinstance(error, Exception):
                    raise
                raise store_error(error, self._door.settings) from error

    async def _connect(self) -> None:
        self._connection = connection = await self._door.connect()
        [newest] = await self._door.query(connection, statement("find_last_notice")())
        [[number]] = newest.rows
        if self._last < 0 or number < self._last:  # it begins anew, or the database was restored
            is_first = self._last < 0
            self._last = number
            self._missing.clear()
            if not is_first:
                self._gap()
        self._heard_at = self._heard_at or time.monotonic()

    def _gap(self) -> None:
        for listeners in self._listeners.values():
            for hear in listeners:
                hear(None)

    async def _run(self) -> None:
        pause_s = OFTEN_S
        patience: Patience | None = None
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()
                    pause_s = OFTEN_S
                await asyncio.sleep(OFTEN_S)
            except TimeoutError:
                pass  # nothing was told here meanwhile
            self._wanted.clear()
            try:
                found = await self._look()
                await self._forget()
                patience = None
            except StoreError as error:
                if patience is None:
                    patience = Patience(0.0)
                    cause = error.__cause__
                    if cause is None or not (is_lost(cause) or is_transient(cause)):
                        _log.warning("notices of the other engines cannot be heard, trying on: %s", error)
                await patience.pause()
                continue
            pause_s = max(OFTEN_S, pause_s / _FASTER) if found else min(SELDOM_S, pause_s * _SLOWER)

    async def _forget(self) -> None:
        """Take away what everybody has heard, now and then. Raises StoreError."""
        now = time.monotonic()
        if self._has_told and now - self._forgot_at > _FORGET_S:
            self._forgot_at = now
            self._has_told = False
            await self._query(statement("forget_notices")(Raw(b"%b - %d" % (_NOW, KEPT_S * 1_000_000))))

    async def _look(self) -> int:
        """Hear what was told; how many there were, whoever they were for. Raises StoreError."""
        missing = Raw(b",".join(b"%d" % number for number in self._missing) or b"0")
        found = await self._query(statement("hear")(self._last, missing))
        now = time.monotonic()
        if now - self._heard_at > KEPT_S / 2:
            self._gap()
        self._heard_at = now
        for number in [number for number, until in self._missing.items() if until < now]:
            del self._missing[number]
        for number, sender, channel, data in found:
            if number > self._last:
                for between in range(max(self._last + 1, number - _MISSING_MAX), number):
                    self._missing[between] = now + _LATE_S
                self._last = number
            else:
                self._missing.pop(number, None)
            if sender != self._sender:
                for hear in self._listeners.get(channel.decode(), ()):
                    hear(data)
        while len(self._missing) > _MISSING_MAX:
            del self._missing[next(iter(self._missing))]
        if len(found) >= _PAGE:
            self._wanted.set()
        return sum(sender != self._sender for _, sender, _, _ in found)
