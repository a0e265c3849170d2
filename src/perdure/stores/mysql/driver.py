"""asyncmy, as far as this store uses it: the one module that knows the driver.

Several statements go in one text and are answered one after another, so a transaction costs as many round trips as it
has decisions to make.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from perdure.stores.api import StoreError
from perdure.stores.mysql.bounds import ONE_SERVER
from perdure.stores.sql import reach


class Answer(NamedTuple):
    """What one statement says."""

    rows: Sequence[tuple[Any, ...]]
    changed: int
    """Rows that were written; of an INSERT ... ON DUPLICATE KEY UPDATE 2 for one that was there."""


def library() -> Any:
    """The module `asyncmy`. Raises StoreError when it is not installed."""
    try:
        import asyncmy
    except ImportError as error:
        raise StoreError(
            f"A MySQL store needs asyncmy ({error.name} is missing): pip install 'perdure[mysql]'."
        ) from error
    return asyncmy


@cache
def _quiet_cursor() -> Any:
    from asyncmy.cursors import Cursor

    class Quiet(Cursor):
        """Does not ask for the text of warnings, which would be one more round trip."""

        async def _show_warnings(self, conn: Any) -> None:
            return

    return Quiet


class Connection:
    """One connection; one text at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.packet_max = 1 << 20
        """Bytes that a text may have."""
        self.bounds = ONE_SERVER
        """What stands around a transaction."""

    @classmethod
    async def to(cls, **options: Any) -> Connection:
        """Connect. Raises the driver's errors, OSError, TimeoutError."""
        return cls(await library().connect(**options))

    @property
    def is_closed(self) -> bool:
        return not self._connection.connected

    def notice_silence(self, seconds: float) -> None:
        """See `perdure.stores.sql.reach.notice_silence`."""
        reach.notice_silence(getattr(self._connection, "_transport", None), seconds)

    async def query(self, text: bytes) -> list[Answer]:
        """The answers of the statements of a text. Raises the driver's errors, OSError.

        After an error of the server's the connection goes on; what stood behind that statement was not begun.
        """
        cursor = self._connection.cursor(_quiet_cursor())
        await cursor.execute(text)
        answers = [Answer(await _rows(cursor), cursor.rowcount)]
        while await cursor.nextset():
            answers.append(Answer(await _rows(cursor), cursor.rowcount))
        return answers

    def terminate(self) -> None:
        """Let it go, whatever it does."""
        self._connection.close()

    async def close(self) -> None:
        """Say good-bye. Idempotent."""
        if not self.is_closed:
            try:
                async with asyncio.timeout(2.0):
                    await self._connection.ensure_closed()
            except (OSError, TimeoutError, library().errors.MySQLError):
                self.terminate()


async def _rows(cursor: Any) -> Sequence[tuple[Any, ...]]:
    return await cursor.fetchall() if cursor.description else ()


def errno(error: BaseException) -> int:
    """The number of an error that the server or the driver gave, 0 for another error."""
    if isinstance(error, library().errors.MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return 0
