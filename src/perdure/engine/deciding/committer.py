"""Group commit: every execution with a ready commit goes into one store transaction.

One task writes. What becomes ready meanwhile gathers and is the next transaction, so that the
price of an fsync is shared by as many executions as there are, and paid at once by a single one.

What cannot be stored fails alone. The store says so of a commit that it cannot encode or write; should
it break on a batch as a whole, the batch is taken apart by halves until what breaks it stands alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from perdure.api.errors import Rejected
from perdure.engine.deciding.mailbox import Mailbox
from perdure.engine.node.faults import Faults, as_rejected
from perdure.engine.node.gatherer import Gatherer
from perdure.engine.node.metrics import Metrics
from perdure.stores.api import Outcome, OutcomeUnknown, Store, StoreError, Unstorable

_log = logging.getLogger(__name__)

_SLICE = 64
"""Commits of a batch that are made known in one turn of the event loop. So many that a batch of usual load is not cut:
what it brings about would come in two parts, and be two transactions from then on (measured: 0.37 for each workflow
instead of 0.25, and a tenth more processor time)."""


class Committer(Gatherer[Mailbox]):
    """Makes the commits of the mailboxes given to `add` durable.

    `done(mailbox, outcome)` is called for each once its transaction is durable, `failed(mailbox,
    error)` for each of a transaction of which nothing was written because the store could not write,
    `refused(mailbox, error)` for one that cannot be stored whenever it is tried. `doubted()` follows on `failed` when
    it is not known whether those were written: they may be durable, and nobody has told of them.
    """

    def __init__(
        self,
        store: Store,
        batch_max: int,
        metrics: Metrics,
        done: Callable[[Mailbox, Outcome], None],
        failed: Callable[[Mailbox, Rejected], None],
        refused: Callable[[Mailbox, Rejected], None],
        doubted: Callable[[], None],
    ) -> None:
        super().__init__(batch_max)
        self._store = store
        self._metrics = metrics
        self._done = done
        self._failed = failed
        self._refused = refused
        self._doubted = doubted
        self._faults = Faults(_log)

    async def _work(self, batch: list[Mailbox]) -> None:
        commits = [mailbox.commit for mailbox in batch if mailbox.commit is not None]
        assert len(commits) == len(batch), "a mailbox was given over without a commit"
        try:
            outcomes = await self._store.commit(commits)
        except StoreError as error:
            self._metrics.store_errors += 1
            for mailbox in batch:
                self._failed(mailbox, as_rejected(error))
            if isinstance(error, OutcomeUnknown):
                self._doubted()
            return
        except Exception as error:
            await self._take_apart(batch, error)
            return
        self._metrics.batches += 1
        for number, (mailbox, outcome) in enumerate(zip(batch, outcomes, strict=True), 1):
            if type(outcome) is Unstorable:
                self._refuse(mailbox, outcome)
            else:
                self._done(mailbox, outcome)
            if number % _SLICE == 0:
                await asyncio.sleep(0)  # whoever waited for these goes on before the others do

    async def _take_apart(self, batch: list[Mailbox], error: Exception) -> None:
        """The store broke: one of the batch may be to blame, and compare-and-set makes trying again safe."""
        if len(batch) == 1:
            self._refuse(batch[0], error)
            return
        middle = len(batch) // 2
        await self._work(batch[:middle])
        await self._work(batch[middle:])

    def _refuse(self, mailbox: Mailbox, error: Exception) -> None:
        self._metrics.store_errors += 1
        if not (isinstance(error, Unstorable) and error.is_value):  # a client's value is the client's affair
            self._faults.tell(error, "a commit of workflow %r cannot be stored", mailbox.workflow_id)
        self._refused(mailbox, as_rejected(error, "The store"))
