"""Deletes what nobody keeps: executions closed longer ago than their namespace's retention, and deleted namespaces.

It looks now and then and deletes page by page, each page a small transaction, so that commits hardly wait
for it. Whatever it does can be done again: a page that failed is met at the next look.

A namespace that is being deleted is not found by anybody any more. Its open executions are terminated, its
closed ones deleted, and when none is left it is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from temporalio.api.workflowservice.v1 import TerminateWorkflowExecutionRequest

from perdure.api.errors import Rejected
from perdure.api.status import OPEN_FILTER
from perdure.core.commands import Terminate
from perdure.core.names import ExecutionKey
from perdure.engine.duties.duties import Duties
from perdure.engine.namespaces import Namespaces
from perdure.engine.node.clock import Clock
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.metrics import Metrics
from perdure.engine.node.signal import Signal
from perdure.engine.submission import Submit
from perdure.stores.api import Namespace, Store, StoreError
from perdure.stores.partitions import ALL_PARTITIONS, Partitions
from perdure.stores.visibility import bind, parse

_log = logging.getLogger(__name__)

_OPEN = bind(parse(OPEN_FILTER), {})
_FOR_EVER_NS = (1 << 63) - 1


class Pruner:
    """See the module's text.

    Attributes:
        passes: emitted after each look at all namespaces.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: EngineConfig,
        metrics: Metrics,
        duties: Duties,
        namespaces: Namespaces,
        submit: Submit,
        delete: Callable[[Sequence[ExecutionKey]], Awaitable[int]],
        kinds: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._now_ns = clock.now_ns
        self._config = config
        self._metrics = metrics
        self._duties = duties
        self._namespaces = namespaces
        self._submit = submit
        self._delete = delete
        self._kinds = kinds
        """Of records that go with their namespace."""
        self._task: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self.passes = Signal()
        duties.subscribe(self.hurry)

    async def start(self) -> None:
        """Look at once, and then every `prune_every_ns`."""
        self._bell = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="Pruner")

    async def stop(self) -> None:
        """What is left is left for the next start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def hurry(self) -> None:
        """There is something to delete: look now."""
        self._bell.set()

    async def _run(self) -> None:
        every_ns = self._config.prune_every_ns
        while True:
            self._bell.clear()
            await self._look(by_age=bool(every_ns))
            self.passes.emit()
            try:
                async with asyncio.timeout(every_ns / 1e9 or None):  # not `wait_for`: it may lose a cancellation
                    await self._bell.wait()
            except TimeoutError:
                continue

    async def _look(self, by_age: bool) -> None:
        """One pass. A failure is told, and leaves the rest for the next pass."""
        try:
            for namespace in self._namespaces.all() if by_age else ():
                before_ns = self._now_ns() - namespace.retention_ns
                await self._prune(namespace.name, before_ns, self._duties.partitions)
            for namespace in self._namespaces.deleted():
                if self._duties.partitions.hold(namespace.name, ""):
                    await self._remove(namespace)
        except (StoreError, Rejected) as error:
            self._metrics.store_errors += 1
            _log.warning("what is past its retention cannot be deleted now: %s", error)
        except Exception:
            _log.exception("deleting what is past its retention failed")

    async def _prune(self, namespace: str, closed_before_ns: int, partitions: Partitions = ALL_PARTITIONS) -> None:
        """Delete closed executions, page by page."""
        page = self._config.prune_page
        while True:
            keys = await self._store.closed_before(namespace, closed_before_ns, page, partitions)
            deleted = await self._delete(keys) if keys else 0
            self._metrics.pruned += deleted
            if len(keys) < page or not deleted:
                return
            await asyncio.sleep(0)

    async def _remove(self, namespace: Namespace) -> None:
        """Everything that is in a deleted namespace, then the namespace."""
        await self._remove_records(namespace.name)
        page = self._config.prune_page
        while True:
            found = await self._store.find_executions(namespace.name, _OPEN, None, page)
            for one in found:
                await self._terminate(one.execution.key)
            if not found.more:
                break
        await self._prune(namespace.name, _FOR_EVER_NS)
        if not await self._store.count_executions(namespace.name):
            await self._namespaces.forget(namespace.name)

    async def _remove_records(self, namespace: str) -> None:
        """First of all: a schedule starts no more. One that is changed meanwhile is met at the next look."""
        for kind in self._kinds:
            after, page = "", self._config.record_page
            while True:
                found = await self._store.records(kind, namespace, after, page)
                gone = [record.change(None) for record in found]
                if gone:
                    await self._store.put_records(gone)
                if not found.more:
                    break
                after = found[-1].name

    async def _terminate(self, key: ExecutionKey) -> None:
        request = TerminateWorkflowExecutionRequest(reason="The namespace was deleted.", identity="perdure")
        try:
            await self._submit(key.namespace, key.workflow_id, key.run_id, Terminate(request))
        except Rejected as error:
            _log.info("%s of a deleted namespace ended by itself: %s", key.workflow_id, error)
