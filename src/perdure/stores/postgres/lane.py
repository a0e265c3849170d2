"""One connection that writes groups, and knows of each what became of it.

A connection that is lost while a statement is on its way leaves behind what nobody can guess: the statement was never
begun, was undone, is durable, or is still running and will be. So each lane has a row of its own in `writers`, with an
epoch. A statement is applied only if it finds the epoch that it was sent under, and leaves there its number, and which
of its commits were applied, in its own transaction. Whoever raises the epoch therefore knows: what was sent before is
either written there, or never will be. A statement that holds the row is waited for, and one that comes to it later
fails.

So the outcome is known as soon as the database can be asked again. If it stays away, `OutcomeUnknown` says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from perdure.stores.api import NotKept, OutcomeUnknown
from perdure.stores.postgres.door import WRITING, Door
from perdure.stores.postgres.driver import Connection, sqlstate
from perdure.stores.postgres.errors import is_lost, is_read_only, is_transient, store_error
from perdure.stores.postgres.queries import query
from perdure.stores.postgres.statement import FENCED
from perdure.stores.postgres.texts import in_schema
from perdure.stores.sql.reach import CUT_S
from perdure.stores.sql.waiting import Patience

_log = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""How long a group waits for a database that cannot be reached, before it is told so."""
UNKNOWN_S = 30.0
"""How long one waits whose statement was on its way when the connection was lost."""
_TRIES_MAX = 10
"""Of a statement that the database ended for the sake of another one."""


_AS_WRITING = "; ".join(f"SET LOCAL {name} = {value}" for name, value in WRITING.items())


class Lane:
    """See the module's text. One statement at a time: who calls holds `turn`.

    Attributes:
        turn: held by whoever writes.

    `for_users`: what is planned on it is not planned as the store's own statements are.
    """

    def __init__(self, door: Door, purpose: str, *, for_users: bool = False) -> None:
        self._door = door
        self._for_users = for_users
        self._purpose = purpose
        self._connection: Connection | None = None
        self._id = secrets.randbits(62)
        self._epoch = 0
        self._group = 0
        self._last_group = 0
        self._raise_epoch = in_schema(query("raise_epoch"), door.settings.schema)
        self._remove_writers = in_schema(query("remove_writers"), door.settings.schema)
        self.turn = asyncio.Lock()

    async def open(self) -> None:
        """Raises the driver's errors, OSError."""
        await self._begin()

    async def close(self) -> None:
        """The row is removed, if the database can be reached. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            await self._door.fetch(connection, self._remove_writers, [self._id])
            await connection.close(timeout=2.0)
        except Exception as error:  # what is left there is removed a day later
            if not is_lost(error):
                _log.warning("a connection of the store could not be closed in order: %s", error)
            connection.terminate()

    async def write(self, sql: str, values: Sequence[Any]) -> list[int]:
        """The places, in the group, of what was applied; durable when this returns.

        `sql` takes writer, epoch and group as its first parameters and answers the places. Raises OutcomeUnknown;
        StoreError when the database cannot be reached or the driver's errors, and then nothing was applied.
        """
        self._group = group = self._group + 1
        patience = Patience(PATIENCE_S)
        is_pending = False
        tries = 0
        while True:
            try:
                if self._connection is None or self._connection.is_closed():
                    applied = await self._begin()
                    if is_pending and self._was_applied(group):
                        return applied
                    is_pending = False
            except Exception as error:
                await self._wait(error, patience, is_pending)
                continue
            try:
                [row] = await self._ask(sql, [self._id, self._epoch, group, *values])
                return row[0]
            except Exception as error:
                tries += 1
                if is_read_only(error):  # so nothing was done: another server takes commits, or will
                    await self._wait(error, patience, is_pending)
                elif is_lost(error):
                    is_pending = True
                    patience.extend(UNKNOWN_S)
                    _log.warning("the store was lost at a commit, asking what became of it: %s", error)
                elif tries >= _TRIES_MAX or not (is_transient(error) or sqlstate(error) == FENCED):
                    raise
                elif sqlstate(error) == FENCED:  # the row was removed, or is another one's by now: begin anew
                    self._hang_up()
                else:
                    await patience.pause()

    async def transact(self, work: Callable[[Connection], Awaitable[tuple[str, Sequence[Any]] | None]]) -> list[int]:
        """The places of what was applied by the last statement of a transaction, in which `work` writes first.

        `work(connection)` gives that statement, as of `write`, and its values; None: nothing is to be kept, as when the
        statement applies nothing. Raises NotKept when COMMIT is refused for what is there, OutcomeUnknown, StoreError
        when the database cannot be reached, the driver's errors and what `work` raises: then nothing was applied.
        """
        await self.repeat("SELECT 1")
        connection = self._connection
        assert connection is not None, "it was asked a moment ago"
        self._group = group = self._group + 1
        is_pending = False
        try:
            await connection.execute("BEGIN", timeout=self._door.settings.timeout_s)
            statement = await work(connection)
            applied = [] if statement is None else await self._apply(connection, group, *statement)
            is_pending = bool(applied)
            await connection.execute("COMMIT" if applied else "ROLLBACK", timeout=self._door.settings.timeout_s)
            return applied
        except BaseException as error:
            is_ours = isinstance(error, Exception)
            if not is_ours or is_lost(error) or sqlstate(error) == FENCED or connection.is_closed():
                self._hang_up()
            elif connection.is_in_transaction():
                await self._undo(connection)
            if is_pending and is_ours and is_lost(error):
                _log.warning("the store was lost at a commit, asking what became of it: %s", error)
                return await self._find_out(group)
            if is_pending and is_ours and not is_transient(error):
                raise NotKept(f"The transaction was refused at its end: {error}.") from error
            raise

    async def _apply(self, connection: Connection, group: int, sql: str, values: Sequence[Any]) -> list[int]:
        timeout_s = self._door.settings.timeout_s
        await connection.execute(_AS_WRITING, timeout=timeout_s)
        [row] = await connection.fetch(sql, self._id, self._epoch, group, *values, timeout=timeout_s)
        return row[0]

    async def _undo(self, connection: Connection) -> None:
        try:
            await connection.execute("ROLLBACK", timeout=self._door.settings.timeout_s)
        except Exception as error:  # the server rolls back what nobody goes on with
            _log.warning("a transaction could not be rolled back in order: %s", error)
            self._hang_up()

    async def _find_out(self, group: int) -> list[int]:
        """What became of a group that was on its way when the connection was lost. Raises OutcomeUnknown."""
        patience = Patience(UNKNOWN_S)
        while True:
            try:
                applied = await self._begin()
                return applied if self._was_applied(group) else []
            except Exception as error:
                await self._wait(error, patience, is_pending=True)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Several statements in one transaction. Raises OutcomeUnknown when the connection is lost, at whatever."""
        await self.repeat("SELECT 1")
        connection = self._connection
        assert connection is not None
        try:
            async with asyncio.timeout(self._door.settings.timeout_s), connection.transaction():
                yield connection
        except BaseException as error:
            if not isinstance(error, Exception) or is_lost(error):
                self._hang_up()
            if isinstance(error, Exception) and is_lost(error):
                told = store_error(error, self._door.settings)
                raise OutcomeUnknown(f"{told} Whether a change was made is not known.") from error
            raise

    async def repeat(self, sql: str, *args: Any) -> list[Sequence[Any]]:
        """The rows of a statement that may be done twice. Raises StoreError, and the driver's errors."""
        patience = Patience(PATIENCE_S)
        while True:
            try:
                if self._connection is None or self._connection.is_closed():
                    await self._begin()
                return await self._ask(sql, args)
            except Exception as error:
                await self._wait(error, patience, is_pending=False)

    async def _ask(self, sql: str, args: Sequence[Any]) -> list[Sequence[Any]]:
        """The rows of a statement; a connection of which it is not known what it does is not used any more."""
        assert self._connection is not None, "whoever asks has connected"
        try:
            return await self._door.fetch(self._connection, sql, args)
        except BaseException as error:
            if not isinstance(error, Exception) or is_lost(error):
                self._hang_up()
            raise

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _wait(self, error: Exception, patience: Patience, is_pending: bool) -> None:
        """Before the next try. Raises the error when there is to be none."""
        passes = is_lost(error) or is_transient(error)
        if self._door.reach.is_cut:
            patience.shorten(CUT_S if is_pending else 0.0)
        if passes and not patience.is_over:
            await patience.pause()
            return
        if is_pending and not isinstance(error, OutcomeUnknown):
            told = store_error(error, self._door.settings)
            raise OutcomeUnknown(
                f"{told} Whether a commit that was on its way to it was applied is not known."
            ) from error
        if passes:
            raise store_error(error, self._door.settings) from error
        raise error

    async def _begin(self) -> list[int]:
        """Connect and raise the epoch; the places that the newest applied group has applied."""
        connection = await self._door.connect(self._purpose, writes=not self._for_users)
        try:
            [row] = await self._door.fetch(connection, self._raise_epoch, [self._id])
        except BaseException:
            connection.terminate()
            raise
        self._epoch, self._last_group, applied = row
        self._connection = connection
        bits = "" if applied is None else applied.as_string().replace(" ", "")
        return [place for place, bit in enumerate(bits) if bit == "1"]

    def _was_applied(self, group: int) -> bool:
        """Whether a group that was on its way is durable. Raises OutcomeUnknown when nobody can tell."""
        if self._epoch == 1:
            raise OutcomeUnknown(
                f"The store {self._door.settings.shown} has forgotten this engine: was it restored, or did a stand-by "
                "take over that lacks the newest transactions? What became of a commit is not known."
            )
        return self._last_group == group
