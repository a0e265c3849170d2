"""A store that dies at a commit boundary, and watches every commit that passes.

The n-th call of `commit` is boundary n. Dying "before" means that nothing of the batch reached the
disk, "after" that all of it did but nobody was told. Either way the call never returns, no later
call is served, and the loop stops at once: what ran on it is dropped as a power cut would drop it.

On the way through, every commit must obey the law: folding its events over the stored state gives
the state that is stored next, and no invariant is broken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import MarkerRecordedEventAttributes

from perdure.core.commit import Commit
from perdure.core.names import ExecutionKey
from perdure.stores.api import Outcome, Reference, Store, Unstorable
from tests.simulation.laws import check_fold

ENDLESS = 600
"""No program needs so many commits in one life: it goes round in circles."""

COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
TASK_FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
UNHANDLED = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
MARKER = EventType.EVENT_TYPE_MARKER_RECORDED
LOCAL_ACTIVITY = "core_local_activity"


class Disk:
    """What is known to be durable, over all lives of the engine."""

    def __init__(self) -> None:
        self.recorded: set[tuple[str, str]] = set()
        """(run id, activity id) of every activity whose completion is in durable history."""
        self.trace: list[tuple[int, str, int, tuple[str, ...]]] = []
        """(virtual ns, workflow id, version, event types) of every durable commit."""
        self.faults: list[str] = []
        """Workflow tasks that failed: no program has a reason to, unless it ended beside news it had not seen."""
        self._activity_ids: dict[tuple[str, int], str] = {}

    def note(self, now_ns: int, commit: Commit) -> None:
        """A commit became durable."""
        run_id = commit.key.run_id
        for event in commit.events:
            if event.event_type == SCHEDULED:
                attributes = event.activity_task_scheduled_event_attributes
                self._activity_ids[run_id, event.event_id] = attributes.activity_id
            elif event.event_type == COMPLETED:
                scheduled = event.activity_task_completed_event_attributes.scheduled_event_id
                self.recorded.add((run_id, self._activity_ids[run_id, scheduled]))
            elif event.event_type == MARKER:
                self._note_marker(run_id, event.marker_recorded_event_attributes)
            elif event.event_type == TASK_FAILED:
                attributes = event.workflow_task_failed_event_attributes
                if attributes.cause != UNHANDLED:
                    self.faults.append(attributes.failure.message)
        names = tuple(EventType.Name(event.event_type)[len("EVENT_TYPE_") :] for event in commit.events)
        version = commit.execution.version if commit.execution else 0
        self.trace.append((now_ns, commit.key.workflow_id, version, names))

    def _note_marker(self, run_id: str, marker: MarkerRecordedEventAttributes) -> None:
        """Of a local activity: it has ended, unless it is only backing off."""
        if marker.marker_name == LOCAL_ACTIVITY:
            data = msgspec.json.decode(marker.details["data"].payloads[0].data)
            if data["backoff"] is None:
                self.recorded.add((run_id, data["activity_id"]))


class CrashingStore:
    """Serves `inner` until boundary `die_at`; 0: never dies.

    Args:
        latency: draws how long each commit takes, so that commands pile up behind it as they
            would behind a real disk.
    """

    def __init__(self, inner: Store, disk: Disk, latency: random.Random, die_at: int = 0, after: bool = False) -> None:
        self._inner = inner
        self._disk = disk
        self._latency = latency
        self._die_at = die_at
        self._after = after
        self.boundaries = 0
        self.died = False
        self.owed_since: float | None = None
        """Loop time at which it was opened, if dead workers then held something."""
        self.resumed_at: float | None = None
        """Loop time of the first durable commit."""

    async def open(self) -> None:
        """See `Store.open`."""
        await self._inner.open()
        if await self._inner.in_flight(None, 1):
            self.owed_since = asyncio.get_running_loop().time()

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Outcome | Unstorable]:
        """See `Store.commit`; may never return."""
        await self._alive()
        self.boundaries += 1
        dying = self.boundaries in (self._die_at, ENDLESS)
        await asyncio.sleep(self._latency.uniform(0.0002, 0.003))
        if dying and not self._after:
            await self._die()
        outcomes = await self._apply(commits)
        if dying or self._disk.faults:
            await self._die()
        await asyncio.sleep(self._latency.uniform(0.0, 0.001))
        return outcomes

    async def _apply(self, commits: Sequence[Commit]) -> Sequence[Outcome | Unstorable]:
        references = [_reference(commit.key) for commit in commits]
        for commit, before in zip(commits, await self._inner.load(references), strict=True):
            check_fold(before, commit)
        outcomes = await self._inner.commit(commits)
        now = asyncio.get_running_loop().time()
        self.resumed_at = self.resumed_at or now
        for commit, outcome in zip(commits, outcomes, strict=True):
            if outcome is Outcome.APPLIED:
                self._disk.note(round(now * 1e9), commit)
        return outcomes

    async def _die(self) -> NoReturn:
        self.died = True
        asyncio.get_running_loop().stop()
        await _never()

    async def _alive(self) -> None:
        if self.died:
            await _never()

    def __getattr__(self, name: str) -> Any:
        """Every read of the inner store, for as long as this one lives."""
        method = getattr(self._inner, name)

        async def read(*args: Any, **kwargs: Any) -> Any:
            await self._alive()
            return await method(*args, **kwargs)

        return read


def _reference(key: ExecutionKey) -> Reference:
    return Reference(key.namespace, key.workflow_id, key.run_id)


async def _never() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("a dead store answered")
