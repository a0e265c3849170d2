"""Moving all that one store holds to another one, of the same kind or not: what is open there goes on here.

Nothing is asked of a store but what every store promises. Workflow by workflow, the oldest run first, so that each id
leads to the run that it led to; a run comes with its history, its task rows and its deadline in one commit. What is
kept in no execution (namespaces, records, the outbox) comes along. Users' own tables beside a store do not.

Nobody may write in either store meanwhile. While a copy is being made, and when it was broken off, the target bears
a mark, and no engine opens it: half of a store would go on with half of the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from perdure.api.history import decode_event, split_batch
from perdure.core.commit import Commit
from perdure.core.execution import Execution
from perdure.core.message import Message
from perdure.core.names import ExecutionKey, Task
from perdure.core.search_attributes import IndexedType
from perdure.core.state import parts_of
from perdure.stores.api import (
    BEGINNING,
    Namespace,
    Outcome,
    Record,
    RecordChange,
    Reference,
    Store,
    StoreError,
    Unstorable,
)
from perdure.stores.visibility.query import Attribute, Condition, Query

RUNS_TOGETHER = 200
"""Executions in one transaction of the target."""
BYTES_TOGETHER = 8 << 20
"""Of history, about, in one transaction of the target; one run is never divided."""
_PAGE = 1000
MARK = ("copy", "", "unfinished")
"""Kind, namespace and name of the record that is in the target until its copy is whole."""
UNFINISHED = (
    "This store was to become a copy of another one, and the copy did not come to its end: make it again, into "
    "an empty store. The store that was copied is as it was."
)
_WORKFLOW_ID = Attribute("WorkflowId", IndexedType.KEYWORD)


class CopyError(StoreError):
    """The copy was not made, or is not whole: the message says why and what to do."""


@dataclass(slots=True)
class Copied:
    """How many things of each kind were copied."""

    namespaces: int = 0
    executions: int = 0
    event_bytes: int = 0
    tasks: int = 0
    messages: int = 0
    records: int = 0


async def refuse_unfinished(store: Store) -> None:
    """Raises StoreError when an open store is the target of a copy that did not come to its end."""
    if await store.record(*MARK) is not None:
        raise StoreError(UNFINISHED)


async def count(store: Store) -> int:
    """How many executions there are to copy."""
    return sum([sum((await store.count_executions(one.name)).values()) for one in await store.namespaces()])


async def copy(source: Store, target: Store, kinds: Sequence[str], progress: Callable[[int], None]) -> Copied:
    """All that is in `source`, with the records of these kinds, into `target`, which is empty; both are open.

    `progress(n)`: so many executions more are durable in the target. Raises StoreError; then the target bears the
    mark of an unfinished copy, unless it was refused because something is in it.
    """
    await refuse_unfinished(source)
    await _refuse_what_is_there(target, kinds)
    await _put_records(target, [RecordChange(*MARK, 0, b"")])
    copying = _Copying(source, target, progress)
    await copying.copy(kinds)
    mark = await target.record(*MARK)
    if mark is None:
        raise CopyError("The mark of the copy was taken away while it was made: somebody else writes in the target.")
    await _put_records(target, [mark.change(None)])
    return copying.copied


async def _refuse_what_is_there(target: Store, kinds: Sequence[str]) -> None:
    await refuse_unfinished(target)
    for namespace in await target.namespaces():
        if await target.count_executions(namespace.name):
            raise CopyError(f"The target holds executions (namespace {namespace.name!r}): name an empty store.")
    for kind in kinds:
        if await target.records(kind, limit=1):
            raise CopyError(f"The target holds a {kind}: name an empty store.")


async def _put_records(target: Store, changes: Sequence[RecordChange]) -> None:
    for change, outcome in zip(changes, await target.put_records(changes), strict=True):
        _expect_applied(outcome, f"{change.kind} {change.name!r}")


def _expect_applied(outcome: Outcome | Unstorable, what: str) -> None:
    if isinstance(outcome, Unstorable):
        raise outcome
    if outcome is not Outcome.APPLIED:
        raise CopyError(f"{what} is in the target already: somebody else writes there.")


class _Copying:
    """One copy under way."""

    def __init__(self, source: Store, target: Store, progress: Callable[[int], None]) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self.copied = Copied()
        self._tasks: dict[ExecutionKey, list[Task]] = {}
        """Of all queues, in their order."""
        self._messages: list[Message] = []
        """Those that no commit has carried yet."""
        self._batch: list[Commit] = []
        self._runs = 0
        self._bytes = 0
        """What waits in the batch: runs, and their history."""

    async def copy(self, kinds: Sequence[str]) -> None:
        namespaces = await self._source.namespaces()
        await self._copy_namespaces(namespaces)
        for kind in kinds:
            await self._copy_records(kind)
        await self._read_tasks()
        await self._read_messages()
        for namespace in namespaces:
            async for key in self._newest_runs(namespace.name):
                if key not in self._tasks:
                    await self._copy_workflow(key)
        # those with task rows last, in the order of the rows: so the queues keep theirs, nearly
        known = {namespace.name for namespace in namespaces}
        for key in [key for key in self._tasks if key.namespace in known]:
            await self._copy_workflow(key)
        await self._flush(len(self._messages))
        if self._messages:
            raise CopyError(f"There is no execution that could carry {len(self._messages)} messages of the outbox.")

    async def _copy_namespaces(self, namespaces: Sequence[Namespace]) -> None:
        there = {one.name: one for one in await self._target.namespaces()}
        for namespace in namespaces:
            stored = there.get(namespace.name)
            if stored != namespace:
                outcome = await self._target.put_namespace(namespace, stored)
                _expect_applied(outcome, f"namespace {namespace.name!r}")
            self.copied.namespaces += 1

    async def _copy_records(self, kind: str) -> None:
        last: Record | None = None
        while True:
            after = ("", "") if last is None else (last.name, last.namespace)
            page = await self._source.records(kind, after_name=after[0], after_namespace=after[1])
            for record in page:
                if record.damage:
                    raise CopyError(f"{kind} {record.name!r} is damaged: {record.damage}")
            await _put_records(
                self._target,
                [RecordChange(kind, one.namespace, one.name, 0, one.data, one.wake_at_ns) for one in page],
            )
            self.copied.records += len(page)
            if not page.more:
                return
            last = page[-1]

    async def _read_tasks(self) -> None:
        for queue in await self._source.queues():
            after = BEGINNING
            while rows := await self._source.tasks(queue, after, _PAGE):
                for row in rows:
                    self._tasks.setdefault(row.task.key, []).append(row.task)
                after = rows[-1].position

    async def _read_messages(self) -> None:
        after = BEGINNING
        while rows := await self._source.pending_messages(after, _PAGE):
            for row in rows:
                if row.message is None:
                    raise CopyError("A message of the outbox is damaged: `perdure store check` says which.")
                self._messages.append(row.message)
            after = rows[-1].position

    async def _newest_runs(self, namespace: str) -> AsyncIterator[ExecutionKey]:
        """The current run of every workflow id."""
        after = None
        while True:
            page = await self._source.find_executions(namespace, Query(), after, _PAGE)
            keys = [one.execution.key for one in page]
            current = await self._source.load([Reference(namespace, key.workflow_id) for key in keys])
            for key, newest in zip(keys, current, strict=True):
                if newest is not None and newest.key == key:
                    yield key
            if not page.more:
                return
            after = page[-1].cursor
            await asyncio.sleep(0)

    async def _copy_workflow(self, newest: ExecutionKey) -> None:
        """All runs of a workflow id, the oldest first and the current one last."""
        before: str | None = None
        chain: list[Commit] = []
        for key in [*await self._older_runs(newest), newest]:
            if self._runs >= RUNS_TOGETHER or self._bytes >= BYTES_TOGETHER:
                self._batch.extend(chain[:1])
                chain = []
                await self._flush(_PAGE)
            commit, size = await self._read_run(key, before)
            before = key.run_id
            if chain:
                chain[-1].next_run = commit
            chain.append(commit)
            self._runs += 1
            self._bytes += size
            self.copied.executions += 1
            self.copied.event_bytes += size
            self.copied.tasks += len(commit.add_tasks)
        self._batch.append(chain[0])

    async def _older_runs(self, newest: ExecutionKey) -> list[ExecutionKey]:
        query = Query(Condition(_WORKFLOW_ID, "=", (newest.workflow_id,)))
        found: list[tuple[int, int, ExecutionKey]] = []
        after = None
        while True:
            page = await self._source.find_executions(newest.namespace, query, after, _PAGE)
            for place, one in enumerate(page, len(found)):
                if one.execution.key != newest:
                    # of equal ones a list names the newer first
                    found.append((one.execution.started_at_ns, -place, one.execution.key))
            if not page.more:
                return [key for _, _, key in sorted(found)]
            after = page[-1].cursor

    async def _read_run(self, key: ExecutionKey, before: str | None) -> tuple[Commit, int]:
        """A commit that makes this run, and how many bytes its history has."""
        [execution] = await self._source.load([Reference(key.namespace, key.workflow_id, key.run_id)])
        if execution is None:
            raise CopyError(f"Workflow {key.workflow_id!r} (run {key.run_id}) is gone: somebody writes in the source.")
        encoded: list[bytes] = []
        while len(encoded) < execution.next_event_id - 1:
            batches = await self._source.history(key, len(encoded) + 1)
            if not batches:
                raise CopyError(f"Workflow {key.workflow_id!r} (run {key.run_id}) lacks a part of its history.")
            for batch in batches:
                encoded.extend(split_batch(batch.data))
        tasks = self._tasks.pop(key, [])
        return _commit(execution, encoded, tasks, before), sum(map(len, encoded))

    async def _flush(self, messages: int) -> None:
        """Write what waits, and with it so many messages of the outbox: they need a commit that carries them."""
        if not self._batch:
            return
        carried, self._messages = self._messages[:messages], self._messages[messages:]
        self._batch[0].messages = carried
        for commit, outcome in zip(self._batch, await self._target.commit(self._batch), strict=True):
            _expect_applied(outcome, f"Workflow {commit.key.workflow_id!r}")
        self.copied.messages += len(carried)
        self._progress(self._runs)
        self._batch, self._runs, self._bytes = [], 0, 0


def _commit(execution: Execution, encoded: list[bytes], tasks: list[Task], before: str | None) -> Commit:
    return Commit(
        key=execution.key,
        expected_version=0,
        execution=execution,
        events=[decode_event(encoded[0])],
        encoded=encoded,
        add_tasks=tasks,
        wake_at_ns=execution.wake_at_ns,
        expected_current_run_id=before,
        parts=parts_of(execution),
    )
