"""After a restart of an embedded engine: its workers were in the process that died.

What they held is taken back at once instead of after a time-out, before the first poll is served, so
that no task of a new worker can be mistaken for one of a dead worker's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import LoseWorkers
from perdure.core.names import ExecutionKey
from perdure.engine.submission import Submit
from perdure.stores.api import Store, StoreError

_log = logging.getLogger(__name__)


async def recover(store: Store, submit: Submit, page_size: int) -> int:
    """Submit LoseWorkers to every execution with a task in a worker's hands; returns how many.

    Raises StoreError when the store cannot serve. An execution that core cannot recover is logged
    and left to its time-outs: the others go on.
    """
    after: ExecutionKey | None = None
    count = 0
    while page := await store.in_flight(after, page_size):
        replies: list[asyncio.Future[Any]] = [
            submit(key.namespace, key.workflow_id, key.run_id, LoseWorkers()) for key in page
        ]
        await asyncio.wait(replies)
        for key, reply in zip(page, replies, strict=True):
            error = reply.exception()
            if isinstance(error, Rejected) and error.code is StatusCode.UNAVAILABLE:
                raise StoreError(error.message)
            if error is not None:
                _log.error("the tasks of workflow %r are left to their time-outs", key.workflow_id, exc_info=error)
        count += len(page)
        after = page[-1]
    return count
