"""Looking a whole store over, of whatever kind: is every execution what its history says, and has it what it is owed?

Engines may be running on it: what changes while it is looked at is looked at again, and only what is wrong without
having changed is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from temporalio.api.history.v1 import HistoryEvent

from perdure.api.history import decode_batch
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey, Task
from perdure.stores import copying
from perdure.stores.api import BEGINNING, Position, Reference, Store, StoreError
from perdure.stores.folding import problems
from perdure.stores.visibility.query import ALL

Rows = Mapping[ExecutionKey, Sequence[Task]]

_PAGE = 1000
_LOOKS = 5
"""At an execution that is not what it should be, or changes again and again."""


@dataclass(slots=True)
class Checked:
    """What a check has found."""

    executions: int = 0
    events: int = 0
    """That were folded."""
    waiting_messages: int = 0
    problems: dict[ExecutionKey, list[str]] = field(default_factory=dict[ExecutionKey, list[str]])
    damage: list[str] = field(default_factory=list[str])
    """Of what is no execution, a sentence each."""


class Sight(Protocol):
    """A store as a check sees it."""

    def keys(self) -> AsyncIterator[ExecutionKey]:
        """Of all executions."""
        ...

    async def state(self, key: ExecutionKey) -> Execution | None:
        """Raises Damaged."""
        ...

    async def events(self, key: ExecutionKey) -> Collection[HistoryEvent]:
        """All of a run. Raises Damaged."""
        ...

    async def rows(self) -> Rows:
        """All task rows."""
        ...

    async def beside(self, key: ExecutionKey) -> list[str]:
        """What is wrong with what a kind of store keeps beside a state, and can be seen at one moment."""
        ...


async def check_executions(sight: Sight, checked: Checked, progress: Callable[[int], None]) -> None:
    """Look at every execution; what is wrong stands in `checked` afterwards. `progress(n)`: n more were looked at."""
    suspects: dict[ExecutionKey, list[str]] = {}
    rows = await sight.rows()
    async for key in sight.keys():
        found = await _look(sight, key, rows, checked)
        if found:
            suspects[key] = found
        checked.executions += 1
        progress(1)
    for _ in range(_LOOKS):
        if not suspects:
            return
        versions = {key: await _version(sight, key) for key in suspects}
        rows = await sight.rows()
        again = {key: await _look(sight, key, rows, None) for key in suspects}
        settled = {key: found for key, found in again.items() if found and await _version(sight, key) == versions[key]}
        checked.problems.update(settled)
        suspects = {key: found for key, found in again.items() if found and key not in settled}
    checked.problems.update(suspects)


async def _version(sight: Sight, key: ExecutionKey) -> int | None:
    try:
        state = await sight.state(key)
    except StoreError:
        return None
    return None if state is None else state.version


async def _look(sight: Sight, key: ExecutionKey, rows: Rows, counted: Checked | None) -> list[str]:
    try:
        stored = await sight.state(key)
        events = await sight.events(key)
        beside = await sight.beside(key)
    except StoreError as error:
        return [str(error)]
    if stored is None:  # it was deleted meanwhile, or at the second look it is told
        return [] if not events else ["there is a history and no state"]
    if counted is not None:
        counted.events += len(events)
    return beside + problems(stored, events, rows.get(key, ()))


class StoreSight:
    """An open store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keys(self) -> AsyncIterator[ExecutionKey]:
        """See `Sight`."""
        for namespace in await self._store.namespaces():
            after = None
            while True:
                page = await self._store.find_executions(namespace.name, ALL, after, _PAGE)
                for found in page:
                    yield found.execution.key
                if not page.more:
                    break
                after = page[-1].cursor

    async def state(self, key: ExecutionKey) -> Execution | None:
        """See `Sight`."""
        return (await self._store.load([Reference(key.namespace, key.workflow_id, key.run_id)]))[0]

    async def events(self, key: ExecutionKey) -> Collection[HistoryEvent]:
        """See `Sight`."""
        events: list[HistoryEvent] = []
        while batches := await self._store.history(key, len(events) + 1):
            events.extend(decode_batch(b"".join(batch.data for batch in batches)))
        return events

    async def rows(self) -> Rows:
        """See `Sight`."""
        rows: dict[ExecutionKey, list[Task]] = {}
        for queue in await self._store.queues():
            after = BEGINNING
            while page := await self._store.tasks(queue, after, _PAGE):
                for row in page:
                    rows.setdefault(row.task.key, []).append(row.task)
                after = page[-1].position
        return rows

    async def beside(self, key: ExecutionKey) -> list[str]:
        """See `Sight`."""
        return []


async def check(store: Store, kinds: Sequence[str], progress: Callable[[int], None]) -> Checked:
    """Everything that every store can be asked: executions, the outbox, records of these kinds. It is open.

    Half of a copy is damage, too, however sound its executions are.
    """
    checked = Checked()
    if await store.record(*copying.MARK) is not None:
        checked.damage.append(copying.UNFINISHED)
    await check_executions(StoreSight(store), checked, progress)
    after: Position = BEGINNING
    while rows := await store.pending_messages(after, _PAGE):
        checked.waiting_messages += len(rows)
        checked.damage.extend(f"message {row.position} is damaged" for row in rows if row.message is None)
        after = rows[-1].position
    for kind in kinds:
        name = namespace = ""
        while page := await store.records(kind, after_name=name, after_namespace=namespace):
            checked.damage.extend(f"{kind} {one.name!r} is damaged: {one.damage}" for one in page if one.damage)
            name, namespace = page[-1].name, page[-1].namespace
    return checked
