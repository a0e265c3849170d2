"""A door whose connections break where a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.stores.mysql.door import Door
from perdure.stores.mysql.driver import Answer, Connection
from perdure.stores.mysql.store import MysqlStore

Break = Callable[[Callable[[], Any]], Any]
"""Given what would send the text, sends it or not, waits for it or not, and raises."""


async def before(send: Callable[[], Any]) -> Any:
    """The text never arrives."""
    raise ConnectionResetError("broken before it was sent")


async def after(send: Callable[[], Any]) -> Any:
    """The text is carried out, and the answer is lost."""
    await send()
    raise ConnectionResetError("broken after it was done")


class Line:
    """Breaks once, at the first text that has `word` in it."""

    def __init__(self, store: MysqlStore, word: bytes, how: Break) -> None:
        opened = store._open()
        self.door: Door = opened.commits._door
        self.word = word
        self.how: Break | None = how
        self.seen: list[bytes] = []
        self._query = self.door.query
        self.door.query = self.query

    async def query(self, connection: Connection, text: bytes) -> list[Answer]:
        self.seen.append(text)
        how = self.how
        if how is not None and self.word in text:
            self.how = None
            return await how(lambda: self._query(connection, text))
        return await self._query(connection, text)
