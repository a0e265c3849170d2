"""Users' functions in transactions of commits: each on a connection of its own, beside all other work of the store.

The transaction begins, the function writes in it, its commit is decided, and the statement of the commit is the last
one before COMMIT: with the gates, the fence and the note of what was applied that every commit has. So no row of the
engine's is locked while the function runs; a run that went on meanwhile, on whatever node, is a conflict, and takes the
function's rows along. A connection that is lost at COMMIT is asked about on the next one, as with every commit.

How long a function may have its transaction is bounded: tasks that wait for a worker stand in the order of
transactions, so one that is open delays what others have queued (ADR 0022).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from perdure.stores.api import Deferred, NotKept, Outcome, StoreError, Unstorable
from perdure.stores.encoding import Chain, encode_or_refuse
from perdure.stores.postgres.door import Door
from perdure.stores.postgres.driver import Connection
from perdure.stores.postgres.errors import store_error
from perdure.stores.postgres.lane import Lane
from perdure.stores.postgres.readers import Readers
from perdure.stores.postgres.transaction import Transaction
from perdure.stores.postgres.writer import CommitWriter
from perdure.stores.sql.plan import Memory

_log = logging.getLogger(__name__)

_LANES = 8
"""Functions that have a transaction at the same time."""
_LONG_HOLD_S = 1.0
"""A function that has its transaction for longer is named in the log."""


class Transactions:
    """Implements `perdure.stores.api.TransactionalStore`. Connections are made when they are needed, and kept."""

    is_concurrent = True

    def __init__(self, door: Door, readers: Readers, memory: Memory) -> None:
        self._door = door
        self._readers = readers
        self._memory = memory
        self._places = asyncio.Semaphore(_LANES)
        self._idle: list[tuple[Lane, CommitWriter]] = []
        self._all: list[Lane] = []
        self._threads = ThreadPoolExecutor(_LANES, "perdure-transaction")

    async def close(self) -> None:
        """Wait for what is being written, and let everything go."""
        for lane in self._all:
            async with lane.turn:
                await lane.close()
        self._threads.shutdown(wait=False)

    async def transact(self, deferred: Sequence[Deferred]) -> Sequence[Outcome | StoreError | None]:
        """See `TransactionalStore.transact`; each has a transaction of its own."""
        return await asyncio.gather(*[self._transact(one) for one in deferred])

    async def _transact(self, one: Deferred) -> Outcome | StoreError | None:
        async with self._places:
            if self._idle:
                lane, writer = self._idle.pop()
            else:
                lane = Lane(self._door, "transactions", for_users=True)
                writer = CommitWriter(lane, self._readers, self._door.settings, self._memory)
                self._all.append(lane)
            try:
                return await writer.write_behind(partial(self._run, one))
            except StoreError as error:
                return error
            except Exception as error:
                return store_error(error, self._door.settings)
            finally:
                self._idle.append((lane, writer))

    async def _run(self, one: Deferred, connection: Connection) -> Chain | Unstorable | None:
        """What is to be written behind the function's rows, None: nothing is to be kept. Raises StoreError, OSError."""
        settings = self._door.settings
        transaction = Transaction(connection, settings.schema, settings.timeout_s)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        try:
            kept = await asyncio.shield(loop.run_in_executor(self._threads, one.run, transaction))
        except asyncio.CancelledError:
            connection.terminate()  # so that the function ends with its next statement
            raise
        finally:
            transaction.end()
        taken_s = loop.time() - begin
        if taken_s > _LONG_HOLD_S:
            _log.warning("a transactional activity kept its transaction open for %.1f s", taken_s)
        if connection.is_closed():
            raise ConnectionError("the connection was lost while a transactional activity ran")
        if not kept:
            return None
        if not connection.is_in_transaction():
            raise NotKept("The transactional activity has ended its transaction itself.")
        if taken_s > 2.0 * settings.timeout_s:
            raise NotKept(
                f"The transactional activity had its transaction open for {taken_s:.1f} s, longer than twice the "
                f"`timeout` of the store's URL ({settings.timeout_s:g} s), while others waited. Nothing of it was kept."
            )
        commit = one.decide()
        return None if commit is None else encode_or_refuse(commit)
