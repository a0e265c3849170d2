"""Group commit: every execution with a ready commit goes into one store transaction.

One task writes. What becomes ready meanwhile gathers and is the next transaction, so that the
price of an fsync is shared by as many executions as there are, and paid at once by a single one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commit import Commit
from perdure.engine.mailbox import Mailbox
from perdure.engine.metrics import Metrics
from perdure.engine.service import Gatherer
from perdure.stores.api import Outcome, Store, StoreError

_log = logging.getLogger(__name__)


class Committer(Gatherer[Mailbox]):
    """Makes the commits of the mailboxes given to `add` durable.

    `done(mailbox, outcome)` is called for each once its transaction is durable, `failed(mailbox,
    error)` for each of a transaction of which nothing was written.
    """

    def __init__(
        self,
        store: Store,
        batch_max: int,
        metrics: Metrics,
        done: Callable[[Mailbox, Outcome], None],
        failed: Callable[[Mailbox, Rejected], None],
    ) -> None:
        super().__init__(batch_max)
        self._store = store
        self._metrics = metrics
        self._done = done
        self._failed = failed

    async def _work(self, batch: list[Mailbox]) -> None:
        commits = [mailbox.commit for mailbox in batch if mailbox.commit is not None]
        assert len(commits) == len(batch), "a mailbox was given over without a commit"
        try:
            outcomes = await self._write(commits)
        except Rejected as error:
            self._metrics.store_errors += 1
            for mailbox in batch:
                self._failed(mailbox, error)
            return
        self._metrics.batches += 1
        for mailbox, outcome in zip(batch, outcomes, strict=True):
            self._done(mailbox, outcome)

    async def _write(self, commits: Sequence[Commit]) -> Sequence[Outcome]:
        """Raises Rejected: UNAVAILABLE when the store said why, INTERNAL when it broke."""
        try:
            return await self._store.commit(commits)
        except StoreError as error:
            raise Rejected(StatusCode.UNAVAILABLE, str(error)) from error
        except Exception as error:
            _log.exception("the store broke while it wrote %d commits", len(commits))
            raise Rejected(StatusCode.INTERNAL, f"The store failed unexpectedly: {error!r}") from error
