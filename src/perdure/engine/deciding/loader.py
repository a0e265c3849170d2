"""Reads executions that are not in memory, many in one go.

What is asked for while a read is under way gathers for the next one. When a batch fails for a
reason that is not the store's as a whole (one snapshot does not decode), it is read one by one, so
that a damaged execution harms nobody else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from perdure.api.errors import Rejected, StatusCode
from perdure.core.execution import Execution
from perdure.engine.deciding.mailbox import Mailbox
from perdure.engine.node.faults import Faults, as_rejected
from perdure.engine.node.gatherer import Gatherer
from perdure.engine.node.metrics import Metrics
from perdure.stores.api import Damaged, Reference, Store, StoreError

_log = logging.getLogger(__name__)

Wanted = tuple[Mailbox, str | None]
"""A mailbox and the run it needs; None: the current one."""


class Loader(Gatherer[Wanted]):
    """Calls `loaded(mailbox, run_id, execution)` or `failed(mailbox, error)` for everything given to `add`."""

    def __init__(
        self,
        store: Store,
        batch_max: int,
        metrics: Metrics,
        loaded: Callable[[Mailbox, str | None, Execution | None], None],
        failed: Callable[[Mailbox, Rejected], None],
    ) -> None:
        super().__init__(batch_max)
        self._store = store
        self._metrics = metrics
        self._loaded = loaded
        self._failed = failed
        self._faults = Faults(_log)

    async def _work(self, batch: list[Wanted]) -> None:
        references = [Reference(mailbox.namespace, mailbox.workflow_id, run_id) for mailbox, run_id in batch]
        try:
            executions = await self._store.load(references)
        except Damaged as error:
            await self._one_by_one(batch, error)
            return
        except StoreError as error:
            self._metrics.store_errors += 1
            for mailbox, _ in batch:
                self._failed(mailbox, as_rejected(error))
            return
        except Exception as error:
            await self._one_by_one(batch, error)
            return
        self._metrics.loads += len(batch)
        for (mailbox, run_id), execution in zip(batch, executions, strict=True):
            self._loaded(mailbox, run_id, execution)

    async def _one_by_one(self, batch: list[Wanted], error: Exception) -> None:
        if len(batch) > 1:
            for wanted in batch:
                await self._work([wanted])
            return
        mailbox = batch[0][0]
        self._faults.tell(error, "workflow %r cannot be read", mailbox.workflow_id)
        outside = f"The stored state of workflow {mailbox.workflow_id!r} cannot be read, and the server's log says why."
        message = f"The stored state of workflow {mailbox.workflow_id!r} cannot be read: {error!r}"
        self._failed(mailbox, Rejected(StatusCode.DATA_LOSS, message, outside=outside))
