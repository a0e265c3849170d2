"""Takes back what dead workers held, at once instead of after a time-out (ADR 0008).

After a restart of an embedded engine: its workers were in the process that died. Everything is taken back before the
first poll is served, so that no task of a new worker can be mistaken for one of a dead worker's.

When one node of several is gone: what the workers in its process held, by the others, each for its own share of the
partitions. What a worker in a process of its own holds is left to it: it goes on, by way of another node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Sequence, Set
from typing import Any

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import LoseWorkers
from perdure.core.names import ExecutionKey
from perdure.engine.duties.duties import Duties
from perdure.engine.duties.nodes import read_nodes
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.metrics import Metrics
from perdure.engine.submission import Submit
from perdure.stores.api import Reference, Store, StoreError
from perdure.stores.partitions import ALL_PARTITIONS, Partitions

_log = logging.getLogger(__name__)


class Recovery:
    """See the module's text."""

    def __init__(self, store: Store, config: EngineConfig, metrics: Metrics, duties: Duties, submit: Submit) -> None:
        self._store = store
        self._page = config.recovery_page
        self._retry_s = config.store_retry_ns / 1e9
        self._metrics = metrics
        self._duties = duties
        self._submit = submit
        self._tasks: set[asyncio.Task[None]] = set()
        duties.on_bereaved = self._take_over

    async def stop(self) -> None:
        """What is not taken back yet is left to its time-outs."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _take_over(self, nodes: Sequence[str]) -> None:
        task = asyncio.get_running_loop().create_task(self._take_back_all(nodes, self._duties.partitions))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_back_all(self, nodes: Sequence[str], partitions: Partitions) -> None:
        for node in nodes:
            while True:
                try:
                    await self.take_back(node, partitions)
                    break
                except (StoreError, Rejected) as error:
                    self._metrics.store_errors += 1
                    _log.warning(
                        "what the workers of a node that is gone held cannot be taken back, trying again: %s", error
                    )
                await asyncio.sleep(self._retry_s)

    async def take_back_from_the_gone(self) -> None:
        """As `take_back`, of every node that held something and is not there any more.

        Nodes that start at the same time do not see one another. So what is held is looked at first and who lives
        after it: a node is in the records before its workers take anything, and what they take keeps its name.
        Raises StoreError.
        """
        homes: set[str] = set()
        after: ExecutionKey | None = None
        while page := await self._store.in_flight(after, self._page):
            references = [Reference(key.namespace, key.workflow_id, key.run_id) for key in page]
            for execution in await self._store.load(references):
                if execution is not None:
                    homes.add(execution.facts.task_home)
                    homes.update(attempt.home for attempt in execution.facts.attempts.values())
            after = page[-1]
        living = {node for node, _ in await read_nodes(self._store)}
        await self.take_back(living=_AllBut((homes | {""}) - living))

    async def take_back(
        self, home: str = "", partitions: Partitions = ALL_PARTITIONS, living: Container[str] = frozenset()
    ) -> None:
        """Submit LoseWorkers to every execution with a task in a worker's hands; `home`: in the hands of this node's,
        or of this worker; `living`: not in the hands of these.

        Raises StoreError when the store cannot serve. An execution that core cannot recover is logged
        and left to its time-outs: the others go on.
        """
        after: ExecutionKey | None = None
        command = LoseWorkers(home, living)
        while page := await self._store.in_flight(after, self._page, partitions):
            replies: list[asyncio.Future[Any]] = [
                self._submit(key.namespace, key.workflow_id, key.run_id, command) for key in page
            ]
            await asyncio.wait(replies)
            for key, reply in zip(page, replies, strict=True):
                error = reply.exception()
                if isinstance(error, Rejected) and error.code is StatusCode.UNAVAILABLE:
                    raise StoreError(error.message)
                if error is not None:
                    _log.error("the tasks of workflow %r are left to their time-outs", key.workflow_id, exc_info=error)
            after = page[-1]


class _AllBut:
    """All homes but these, also those that nobody knows of yet."""

    def __init__(self, gone: Set[str]) -> None:
        self._gone = gone

    def __contains__(self, home: object) -> bool:
        return home not in self._gone
