"""Reads of history, many in one statement: those that are asked for in one turn of the event loop.

When very many runs wake, each of them is read whole by a worker that does not have it. They come in bunches, for what
is committed in one transaction goes on together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from perdure.core.names import ExecutionKey
from perdure.stores.api import Batch
from perdure.stores.postgres.reader import Row, batches_of, keys_parameters

_TOGETHER = 32
"""Histories in one answer: each may be as long as its reader lets it."""


class _Asked(NamedTuple):
    key: ExecutionKey
    first_event_id: int
    limit_bytes: int
    answer: asyncio.Future[Sequence[Batch]]


class Histories:
    """See the module's text. `fetch` runs the statement `read_history` with its parameters."""

    def __init__(self, fetch: Callable[..., Awaitable[Sequence[Row]]]) -> None:
        self._fetch = fetch
        self._asked: list[_Asked] = []
        self._reading: set[asyncio.Task[None]] = set()

    async def read(self, key: ExecutionKey, first_event_id: int, limit_bytes: int) -> Sequence[Batch]:
        """See `Store.history`."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._begin)
        answer: asyncio.Future[Sequence[Batch]] = loop.create_future()
        self._asked.append(_Asked(key, first_event_id, limit_bytes, answer))
        return await answer

    def _begin(self) -> None:
        asked, self._asked = self._asked, []
        for start in range(0, len(asked), _TOGETHER):
            reading = asyncio.get_running_loop().create_task(self._read_all(asked[start : start + _TOGETHER]))
            self._reading.add(reading)
            reading.add_done_callback(self._reading.discard)

    async def _read_all(self, asked: Sequence[_Asked]) -> None:
        places: list[list[Row]] = [[] for _ in asked]
        try:
            keys = keys_parameters(one.key for one in asked)
            rows = await self._fetch(*keys, [one.first_event_id for one in asked], [one.limit_bytes for one in asked])
        except BaseException as error:  # handed on: it is an answer for everybody who asked
            for one in asked:
                if not one.answer.done():
                    one.answer.set_exception(error) if isinstance(error, Exception) else one.answer.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for row in rows:
            place: int = row[0] - 1
            places[place].append(row[1:])
        for one, found in zip(asked, places, strict=True):
            _answer(one, found)


def _answer(asked: _Asked, rows: Sequence[Row]) -> None:
    if asked.answer.done():  # nobody waits any more
        return
    try:
        asked.answer.set_result(batches_of(rows, asked.key.workflow_id))
    except Exception as damage:  # this one's alone
        asked.answer.set_exception(damage)
