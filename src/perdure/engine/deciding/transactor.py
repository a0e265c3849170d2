"""Transactional activities: a user's rows and the event that says so, in one transaction.

Beside the committer, because here the order is turned round: the transaction begins, the user's function
writes in it, and only then is the command decided, for its result is in the event. A mailbox
that waits here has nothing in the committer, so neither can wait for the other but for the disk.
What gathers while one transaction is written shares the next one; where the store lets them, each has its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commit import Commit
from perdure.engine.deciding.mailbox import Mailbox
from perdure.engine.node.faults import Faults, as_rejected
from perdure.engine.node.gatherer import Gatherer
from perdure.engine.node.metrics import Metrics
from perdure.engine.submission import InTransaction
from perdure.stores.api import NotKept, Outcome, Store, StoreError, TransactionalStore

_log = logging.getLogger(__name__)

_TOGETHER_MAX = 20
"""Functions in one transaction: all other commits wait for it."""


class Transactor(Gatherer[Mailbox]):
    """Serves the mailboxes given to `add`, each with one `InTransaction` call in hand.

    `decide(mailbox)` is asked once the function has written. `done(mailbox, outcome)` is called for each once the
    transaction is over, `failed(mailbox, error)` for each of which nothing was written because of an error.
    """

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        decide: Callable[[Mailbox], Commit | None],
        done: Callable[[Mailbox, Outcome | None], None],
        failed: Callable[[Mailbox, Rejected], None],
    ) -> None:
        super().__init__(_TOGETHER_MAX)
        self._store = store
        self._metrics = metrics
        self._decide = decide
        self._done = done
        self._failed = failed
        self._serving: set[asyncio.Task[None]] = set()
        """Those that have a transaction each."""
        self._faults = Faults(_log)

    async def stop(self) -> None:
        """See `Gatherer.stop`."""
        await super().stop()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)

    async def _work(self, batch: list[Mailbox]) -> None:
        store = self._store.transactional
        assert store is not None, "the engine looked before it queued"
        if not store.is_concurrent:
            await self._serve(store, batch)
            return
        for mailbox in batch:
            task = asyncio.get_running_loop().create_task(self._serve(store, [mailbox]))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, store: TransactionalStore, batch: list[Mailbox]) -> None:
        try:
            outcomes = await store.transact([_Deferred(mailbox, self._decide) for mailbox in batch])
        except Exception as error:
            rejected = self._explain(error)
            for mailbox in batch:
                self._failed(mailbox, rejected)
            return
        self._metrics.batches += 1
        for mailbox, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, NotKept):
                self._failed(mailbox, Rejected(StatusCode.FAILED_PRECONDITION, str(outcome)))
            elif isinstance(outcome, StoreError):
                self._failed(mailbox, self._explain(outcome))
            else:
                self._done(mailbox, outcome)

    def _explain(self, error: Exception) -> Rejected:
        self._metrics.store_errors += 1
        if not isinstance(error, StoreError):
            self._faults.tell(error, "the store broke while it ran transactional activities")
        return as_rejected(error, "The store")


class _Deferred:
    """Implements `perdure.stores.api.Deferred` for the call in a mailbox's hand."""

    def __init__(self, mailbox: Mailbox, decide: Callable[[Mailbox], Commit | None]) -> None:
        self._mailbox = mailbox
        self._decide = decide
        self._call = mailbox.calls[0]

    def run(self, transaction: Any) -> bool:
        if self._call.future.done():  # nobody waits any more
            return False
        return cast(InTransaction, self._call.command).work(transaction)

    def decide(self) -> Commit | None:
        return self._decide(self._mailbox)
