"""One connection that writes groups, and knows of each what became of it.

A group is one transaction of two round trips. The first begins it, locks what the group is compared with, and asks
where in the order of positions it stands; the second writes what has passed, and commits, which is a third in a Galera
group (`bounds.py`). What can be compared and written by one statement is tried in one first, which leaves the same
mark, or changes nothing.

A connection that is lost while the second is on its way leaves behind what nobody can guess: it was never begun, was
undone, is durable, or is still running and will be. So each lane has a row of its own in `writers`, with an epoch,
which it locks first of all. A transaction goes on only if it finds the epoch that it was begun under, and leaves there
its number and which of its commits it has applied. Whoever raises the epoch therefore knows: what was begun before is
either written there, or never will be. So the outcome is known as soon as the database can be asked again; if it stays
away, `OutcomeUnknown` says so. And whoever tries a group again, whatever he was told of it, finds there whether it was
applied.

That the row is locked also tells readers that something may be on its way (`reader.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from perdure.stores.api import OutcomeUnknown, StoreError
from perdure.stores.mysql.door import Door
from perdure.stores.mysql.driver import Answer, Connection
from perdure.stores.mysql.errors import is_lost, is_transient, store_error
from perdure.stores.mysql.literals import Rows, statement
from perdure.stores.mysql.schema import again
from perdure.stores.sql.reach import CUT_S
from perdure.stores.sql.waiting import Patience

_log = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""How long a group waits for a database that cannot be reached, before it is told so."""
UNKNOWN_S = 30.0
"""How long one waits that was on its way when the connection was lost."""
_TRIES_MAX = 12
"""Of a transaction that the database ended for the sake of another one."""
_IDLE_S = 5.0
"""A connection that has been idle for so long may be gone, and is made anew: the server ends it a moment later."""


class Decision(NamedTuple):
    """What is to be made of what was locked."""

    statements: Sequence[bytes]
    applied: Sequence[int]
    """Places in the group."""


Decide = Callable[[Sequence[Rows], int], Decision]
"""Given the rows that were locked, by statement, and the position."""


AtOnce = Callable[[int, int, int], bytes]
"""Given the group's number, the epoch and the writer's id: the statement that applies the only member of a group and
leaves the mark, if both are as they should be."""


class _Fenced(Exception):
    """The writer's row is another one's, or was removed."""


class Lane:
    """See the module's text. One transaction at a time: who calls holds `turn`.

    Attributes:
        turn: held by whoever writes.
        tag: twenty bits that tell this lane's positions from those of others.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._connection: Connection | None = None
        self._id = secrets.randbits(62)
        self.tag = secrets.randbits(20)
        self._epoch = 0
        self._group = 0
        self._last_group = 0
        self._used_at = 0.0
        self.turn = asyncio.Lock()

    async def open(self) -> None:
        """Raises the driver's errors, OSError, TimeoutError."""
        await again(self._begin)

    async def close(self) -> None:
        """What it has left there is removed a day later. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def packet_max(self) -> int:
        """Bytes that a text may have. Raises StoreError."""
        return (await self._ready()).packet_max

    async def write(self, locks: Sequence[bytes], decide: Decide, at_once: AtOnce | None = None) -> list[int]:
        """The places, in the group, of what was applied; durable when this returns.

        `decide` may be asked more than once, each time of what is stored then. `at_once` is tried before. Raises
        OutcomeUnknown; StoreError when the database cannot be reached or the driver's errors, and then nothing was
        applied.
        """
        self._group = group = self._group + 1
        patience = Patience(PATIENCE_S)
        tries = 0
        is_pending = False
        while True:
            try:
                if not self._is_fresh():
                    applied = await self._begin()
                    if is_pending and self._was_applied(group):
                        return applied
                    is_pending = False
            except Exception as error:
                await self._wait(error, patience, is_pending)
                continue
            connection = self._connection
            assert connection is not None
            try:
                if at_once is not None and not connection.bounds.may_vanish:
                    is_pending = True
                    [answer] = await self._door.query(connection, at_once(group, self._epoch, self._id))
                    is_pending = False
                    if answer.changed:
                        self._used_at = time.monotonic()
                        return [0]
                decision, position = await self._look(connection, group, locks, decide)
                if decision.statements:
                    is_pending = True
                    await self._apply(connection, decision, group, position)
                    is_pending = False
                else:
                    await self._undo(connection)
                self._used_at = time.monotonic()
                return list(decision.applied)
            except BaseException as error:
                if not isinstance(error, Exception) or is_lost(error):
                    self._drop()
                    if not isinstance(error, Exception):
                        raise
                    if is_pending:
                        patience.extend(UNKNOWN_S)
                        _log.warning(
                            "the connection to the store was lost at a commit, asking what became of it: %s", error
                        )
                    else:
                        await self._wait(error, patience, is_pending)
                    continue
                is_pending = False
                await self._undo(connection)
                tries += 1
                if tries >= _TRIES_MAX or not (is_transient(error) or isinstance(error, _Fenced)):
                    raise
                if isinstance(error, _Fenced):
                    self._drop()
                await patience.pause()

    async def _look(
        self, connection: Connection, group: int, locks: Sequence[bytes], decide: Decide
    ) -> tuple[Decision, int]:
        """Begin, lock, and decide; without statements when there is nothing to write, or it was written already."""
        begin = connection.bounds.begin
        text = b";".join([*begin, statement("lock_writer")(self._id), statement("find_position")(), *locks])
        writer, place, *locked = (await self._door.query(connection, text))[len(begin) :]
        [(epoch, last_group, bits)] = writer.rows or [(0, 0, b"")]
        if epoch != self._epoch:
            raise _Fenced
        position = place.rows[0][0]
        if last_group == group:
            return Decision((), _places(bits)), position
        return decide([answer.rows for answer in locked], position), position

    async def _apply(self, connection: Connection, decision: Decision, group: int, position: int) -> None:
        """Write and commit, in as few texts as may be."""
        bits = bytearray(max(decision.applied) // 8 + 1)
        for place in decision.applied:
            bits[place >> 3] |= 1 << (place & 7)
        mark = statement("leave_mark")(group, position, bytes(bits), self._epoch, self._id)
        text: list[bytes] = []
        size = 0
        for one in (mark, *decision.statements, *connection.bounds.end):
            if text and size + len(one) >= connection.packet_max:
                await self._door.query(connection, b";".join(text))
                text, size = [], 0
            text.append(one)
            size += len(one) + 1
        await self._door.query(connection, b";".join(text))
        if connection.bounds.commit:
            await self._door.query(connection, connection.bounds.commit)

    async def _transact(self, connection: Connection, statements: Sequence[bytes]) -> list[Answer]:
        """The answers of statements that are a transaction."""
        begin, end, commit = connection.bounds
        answers = await self._door.query(connection, b";".join([*begin, *statements, *end]))
        if commit:
            await self._door.query(connection, commit)
        return answers[len(begin) : -len(end)]

    async def _undo(self, connection: Connection) -> None:
        try:
            await self._door.query(connection, b"ROLLBACK")
        except Exception as error:  # the server ends what has no connection
            if not (is_lost(error) or is_transient(error)):
                _log.warning("a transaction of the store could not be undone in order: %s", error)
            self._drop()

    async def repeat(self, *statements: bytes) -> list[Answer]:
        """The answers of a transaction that may be done twice. Raises StoreError, and the driver's errors."""
        patience = Patience(PATIENCE_S)
        tries = 0
        while True:
            try:
                connection = await self._ready()
                answers = await self._transact(connection, statements)
                self._used_at = time.monotonic()
                return answers
            except BaseException as error:
                if not isinstance(error, Exception) or is_lost(error):
                    self._drop()
                elif self._connection is not None:
                    await self._undo(self._connection)
                tries += 1
                if not isinstance(error, Exception) or not (is_lost(error) or is_transient(error)):
                    raise
                if tries >= _TRIES_MAX and is_transient(error):
                    raise
                await self._wait(error, patience, is_pending=False)

    async def _ready(self) -> Connection:
        """A connection. Raises StoreError, and the driver's errors."""
        patience = Patience(PATIENCE_S)
        while not self._is_fresh():
            try:
                await self._begin()
            except Exception as error:
                await self._wait(error, patience, is_pending=False)
        assert self._connection is not None
        return self._connection

    def _is_fresh(self) -> bool:
        """Whether there is a connection that the server has not given up."""
        if self._connection is None or self._connection.is_closed:
            return False
        if time.monotonic() - self._used_at > _IDLE_S:
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _wait(self, error: Exception, patience: Patience, is_pending: bool) -> None:
        if not is_lost(error) and not is_transient(error) and not isinstance(error, StoreError) and not is_pending:
            raise store_error(error, self._door.settings) from error
        if self._door.reach.is_cut:
            patience.shorten(CUT_S if is_pending else 0.0)
        if patience.is_over or isinstance(error, StoreError):
            told = store_error(error, self._door.settings)
            if is_pending:
                raise OutcomeUnknown(
                    f"{told} A commit was on its way to it: whether it was applied is not known until it can be asked."
                ) from error
            raise told from error
        await patience.pause()

    async def _begin(self) -> list[int]:
        """Connect and raise the epoch; the places that the newest applied group has applied."""
        connection = await self._door.connect(writes=True)
        try:
            raising = [statement("raise_epoch")(self._id), statement("find_writer")(self._id)]
            _, found = await self._transact(connection, raising)
            [(self._epoch, self._last_group, bits)] = found.rows
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        self._used_at = time.monotonic()
        return _places(bits)

    def _was_applied(self, group: int) -> bool:
        """Whether a group that was on its way is durable. Raises OutcomeUnknown when nobody can tell."""
        if self._epoch == 1:
            raise OutcomeUnknown(
                f"The store {self._door.settings.shown} has forgotten this engine: was it restored, or did a replica "
                "take over that lacks the newest transactions? What became of a commit is not known."
            )
        return self._last_group == group


def _places(bits: bytes) -> list[int]:
    """The places that a mark names."""
    return [8 * number + bit for number, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1]
