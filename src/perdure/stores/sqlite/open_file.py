"""A store's file that is owned and open: the connections on it, and whose turn it is to write.

Here is what the store's text (`store.py`) promises of the disk: one transaction at a time, statements on the event
loop, the wait for the disk in a thread; and nothing is acknowledged of a file that no name leads to.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from perdure.stores.api import Deferred, NotKept, Outcome, StoreError, Unstorable
from perdure.stores.encoding import Written, encode_or_refuse
from perdure.stores.sqlite import mark as mark_module
from perdure.stores.sqlite import schema
from perdure.stores.sqlite.connection import (
    OPEN_WAIT_S,
    check_kind,
    check_path,
    connect_reader,
    connect_writer,
    make_durable,
    make_private,
    refuse_a_lone_log,
    refuse_other_names,
    take_rights_away,
    wait_no_more,
)
from perdure.stores.sqlite.errors import as_store_error, is_busy, is_fsync_failure, store_error
from perdure.stores.sqlite.ownership import Ownership, is_owned_here, owner_of
from perdure.stores.sqlite.scans import Scans
from perdure.stores.sqlite.threads import OneThread
from perdure.stores.sqlite.whereabouts import Watch, Whereabouts
from perdure.stores.sqlite.writer import Writer
from perdure.stores.transaction import SAVEPOINT, run_guarded

Result = TypeVar("Result")

_BUSY_PAUSES_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, *(0.1,) * 50)
"""How long a transaction waits for a program that has the file locked, before it is refused: about 5 s."""

_QUICK_DISK_S = 0.0005
"""A disk that synchronises a commit in less is waited for on the event loop, when a commit is alone."""
_HICCUP_S = 0.002
"""The most that one commit counts in the average: a checkpoint now and then is no slow disk."""
_LONG_HOLD_S = 0.25
"""A user's function that has the write transaction for longer is named in the log: everybody waits for it."""

_PRIVATE_SINCE = 6
"""Schema from which on the files of a store are made for their owner alone."""
_PAGES_MAX = 4
"""Pages of executions that are made at a time."""
_LOOK_S = 0.1
"""How long a look at the files is good for. (At every commit it would cost a twentieth of one.)"""

_log = logging.getLogger(__name__)


class OpenFile:
    """A file that is owned and open: the connections on it, and whose turn it is to write."""

    def __init__(self, path: Path) -> None:
        """Everything is held, or nothing and a StoreError is raised."""
        check_path(path)
        if not is_owned_here(path):
            if owner_of(path) is None:  # who comes to an owner by the owner's name does no harm
                refuse_other_names(path)
            check_kind(path)
        self.path = path
        self.turn = asyncio.Lock()
        self._why_broken: str | None = None
        self._looked_at = 0.0
        self._watch: Watch | None = None
        self._ownership = Ownership(path)
        self._connections: list[sqlite3.Connection] = []
        self._disk = Disk()
        self._thread = OneThread("perdure-disk")
        self.scans = Scans(self.connect)
        self.pages = asyncio.Semaphore(_PAGES_MAX)
        """For who makes a page of executions: it may have some megabytes."""
        try:
            with as_store_error(path):
                self._connect()
            self._whereabouts = Whereabouts(path)
            self._watch = Watch(self._look)
        except BaseException:
            self.release()
            raise

    def _connect(self) -> None:
        path = self.path
        refuse_a_lone_log(path)
        is_new = make_private(path)
        self.connection = connect_writer(path, OPEN_WAIT_S)
        self._connections.append(self.connection)
        migrations = schema.read_migrations()
        version = schema.identify(self.connection, path, max(migrations, default=schema.FIRST_VERSION))
        if not is_new:
            self._check_mark(version)
        make_durable(self.connection, path)
        schema.migrate(self.connection, version, migrations)
        if not version:  # from its first commit on the file says itself which store it is
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if 0 < version < _PRIVATE_SINCE:
            take_rights_away(path)
        self.writer = Writer(self.connection)
        self.reader = connect_reader(path, OPEN_WAIT_S)
        self._connections.append(self.reader)
        for connection in self._connections:
            wait_no_more(connection)

    def _check_mark(self, version: int) -> None:
        """Raises StoreError when the database lacks what was acknowledged: its log is missing."""
        mark = self._ownership.read_mark()
        if mark is None or 0 < version < mark_module.MARKED_SINCE:
            return
        lacks = mark_module.missing(self.connection, mark) if version else "everything: it is an empty file"
        if lacks is not None:
            raise StoreError(mark_module.refusal(self.path, lacks))

    def connect(self) -> sqlite3.Connection:
        """A connection for reading, in any thread. Raises StoreError, sqlite3.Error."""
        self.check_whereabouts()  # the name is opened once more
        return connect_reader(self.path)

    def release(self) -> None:
        """Close what is open, the writer last, so that it copies the log into the file; then disown it."""
        if self._watch is not None:
            self._watch.stop()
        self._thread.stop()
        self.scans.close()
        is_whole = False
        for connection in reversed(self._connections):
            if connection is self.connection and hasattr(self, "writer"):
                is_whole = self._copy_log()
            connection.close()
        if is_whole:
            self._ownership.forget_mark()
        self._ownership.release()

    def _copy_log(self) -> bool:
        """Copy all of the log into the file. False: a reader holds some of it back, or the file is not sound."""
        if self._why_broken is not None:
            return False
        try:
            is_held_back, _, _ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            _log.warning("the log of the store %s was not copied into it at its end: %s", self.path, error)
            return False
        return not is_held_back

    # --- where the file is ------------------------------------------------------------------------

    def _look(self) -> bool:
        """Notice what has happened to the files, and mark how far they have come. False: nothing is taken any more."""
        self._looked_at = time.monotonic()
        self._ownership.write_mark(self.writer.mark())
        if self._why_broken is None:
            fault = self._whereabouts.fault()
            if fault is not None:
                self._why_broken = fault
                _log.critical("%s", fault)
        return self._why_broken is None

    def check_whereabouts(self) -> None:
        """Raises StoreError when the store's names do not lead to the open files any more."""
        self._look()
        self._check_sound()

    def _check_sound(self) -> None:
        if self._why_broken is not None:
            raise StoreError(self._why_broken)

    def _confirm(self) -> None:
        """A transaction is durable, and about to be acknowledged. Raises StoreError when it is durable nowhere."""
        if time.monotonic() - self._looked_at > _LOOK_S:
            self.check_whereabouts()

    # --- transactions -----------------------------------------------------------------------------

    async def transact(self, write: Callable[[], Result], size: int) -> Result:
        """One transaction of `size` commits, entirely or not at all, when its turn has come. Raises StoreError."""
        async with self.turn:
            self._check_sound()
            try:
                result = await self._begin_and(write)
                if self._disk.is_worth_a_thread(size):
                    await self._finish_in_thread()
                else:
                    self._disk.run(self.writer.finish)
                    self.writer.remember()
                self._confirm()
            except sqlite3.Error as error:
                raise self._give_up(error) from error
            except BaseException:
                self.writer.abandon()
                raise
            return result

    async def change(self, write: Callable[[], Result], size: int = 1) -> Result:
        """A transaction that changes something other than executions' commits. Raises StoreError."""

        def counted() -> Result:
            self.writer.count_change()
            return write()

        return await self.transact(counted, size)

    async def transact_deferred(self, deferred: Sequence[Deferred]) -> Sequence[Outcome | StoreError | None]:
        """One transaction for all of them, each behind a savepoint of its own. Raises StoreError."""
        outcomes: list[Outcome | StoreError | None] = [Outcome.CONFLICT] * len(deferred)
        async with self.turn:
            self._check_sound()
            try:
                await self._begin_and(lambda: None)
                for place, one in enumerate(deferred):
                    kept = await self._run_deferred(one)
                    if not self.connection.in_transaction:
                        # All that was written before is gone with it, and is done again.
                        outcomes = [Outcome.CONFLICT] * len(deferred)
                        outcomes[place] = _transaction_lost() if kept else None
                        return outcomes
                    outcomes[place] = self._settle_deferred(one, kept)
                if Outcome.APPLIED in outcomes:
                    await self._finish_in_thread()
                    self._confirm()
                else:
                    self.writer.abandon()
            except sqlite3.Error as error:
                raise self._give_up(error) from error
            except BaseException:
                self.writer.abandon()
                raise
            return outcomes

    async def _run_deferred(self, one: Deferred) -> bool:
        """The user's function behind a savepoint, off the loop: whoever reads or decides need not wait for it."""
        connection = self.connection
        connection.execute(f"SAVEPOINT {SAVEPOINT}")
        begin = time.perf_counter()
        kept: bool = await self._thread.do(lambda: run_guarded(connection, one.run))
        taken_s = time.perf_counter() - begin
        if taken_s > _LONG_HOLD_S:
            _log.warning("a transactional activity kept all commits of the store waiting for %.1f s", taken_s)
        return kept

    def _settle_deferred(self, one: Deferred, kept: bool) -> Written | None:
        """Write the commit that belongs to the rows, or drop both."""
        commit = one.decide() if kept else None
        outcome: Written | None = None
        if commit is not None:
            encoded = encode_or_refuse(commit)
            outcome = encoded if isinstance(encoded, Unstorable) else self.writer.write_alone(encoded)
        if outcome is not Outcome.APPLIED:
            self.connection.execute(f"ROLLBACK TO {SAVEPOINT}")
        self.connection.execute(f"RELEASE {SAVEPOINT}")
        return outcome

    async def _begin_and(self, write: Callable[[], Result]) -> Result:
        """Another program (a person with `sqlite3`, a backup tool) may have the file locked for a moment."""
        for pause_s in _BUSY_PAUSES_S:
            try:
                self.writer.begin()
                return write()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                self.writer.abandon()
            await _pause(pause_s)
        self.writer.begin()
        return write()

    async def _finish_in_thread(self) -> None:
        """Wait for the disk. Who is cancelled meanwhile is cancelled after: the transaction has left already."""

        def finish() -> None:
            self._disk.run(self.writer.finish)

        try:
            await self._thread.do(finish)
        except asyncio.CancelledError:
            self.writer.remember()
            raise
        self.writer.remember()

    def _give_up(self, error: sqlite3.Error) -> StoreError:
        """Undo what was begun, and say why."""
        try:
            self.writer.abandon()
        except sqlite3.Error as second:
            self._why_broken = (
                f"The store {self.path} could not undo a failed transaction ({second}): restart the engine."
            )
        if is_fsync_failure(error):
            self._why_broken = (
                f"The disk under the store {self.path} failed to synchronise ({error}), so only opening the file again "
                "can tell what it holds: check the disk and the system's log, then restart the engine."
            )
            return StoreError(self._why_broken)
        return store_error(error, self.path)


class Disk:
    """Judges whether waiting for the disk is worth a thread.

    Handing over to a thread and back costs about as much as a good disk needs to synchronise one
    commit. So a commit that is alone, with another alone before it, is waited for on the loop, which
    has nothing better to do; unless the disk has been slow lately. A batch of many always has its thread.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._average_s = 0.0
        self._last_size = 0

    def is_worth_a_thread(self, size: int) -> bool:
        """Whether the loop should be free while a transaction of so many commits is synchronised."""
        alone = size == 1 and self._last_size == 1
        self._last_size = size
        return not alone or self._average_s > _QUICK_DISK_S

    def run(self, finish: Callable[[], None]) -> None:
        """Finish a transaction and remember how long it took; one hiccup counts no more than `_HICCUP_S`."""
        begin = self._clock()
        finish()
        taken_s = min(self._clock() - begin, _HICCUP_S)
        self._average_s += (taken_s - self._average_s) / 8


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _transaction_lost() -> NotKept:
    return NotKept(
        "A statement of the transactional activity rolled the whole transaction back (`OR ROLLBACK`, RAISE(ROLLBACK), "
        "a full disk) and the function went on all the same: nothing was kept; let such errors leave the function."
    )
