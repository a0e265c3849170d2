"""The store as one node sees it: it may take the node along at a commit, and watches every commit that passes.

Dying "before" means that nothing of the batch reached the disk, "after" that all of it did but nobody was told. Either
way the call never returns, no later call is served, and the node's loop is dropped at the end of its turn: what ran on
it is gone, as after a power cut.

On the way through, every commit must obey the law: folding its events over the stored state gives
the state that is stored next, and no invariant is broken.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import msgspec
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import MarkerRecordedEventAttributes

from perdure.core.commit import Commit
from perdure.core.names import ExecutionKey
from perdure.stores.api import Hear, Outcome, Reference, Store, Unstorable
from tests.simulation.laws import check_fold

COMPLETED = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
TASK_FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
UNHANDLED = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
MARKER = EventType.EVENT_TYPE_MARKER_RECORDED
LOCAL_ACTIVITY = "core_local_activity"


class Disk:
    """What is known to be durable, whoever wrote it."""

    def __init__(self) -> None:
        self.recorded: set[tuple[str, str]] = set()
        """(run id, activity id) of every activity whose completion is in durable history."""
        self.scheduled: set[tuple[str, str]] = set()
        """The same of every activity that durable history says is to run."""
        self.trace: list[tuple[int, int, str, int, tuple[str, ...]]] = []
        """(virtual ns, node, workflow id, version, event types) of every durable commit."""
        self.faults: list[str] = []
        """Workflow tasks that failed: no program has a reason to, unless it ended beside news it had not seen."""
        self._activity_ids: dict[tuple[str, int], str] = {}

    def note(self, now_ns: int, node: int, commit: Commit) -> None:
        """A commit of a node became durable."""
        run_id = commit.key.run_id
        for event in commit.events:
            if event.event_type == SCHEDULED:
                attributes = event.activity_task_scheduled_event_attributes
                self._activity_ids[run_id, event.event_id] = attributes.activity_id
                self.scheduled.add((run_id, attributes.activity_id))
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
        self.trace.append((now_ns, node, commit.key.workflow_id, version, names))

    def _note_marker(self, run_id: str, marker: MarkerRecordedEventAttributes) -> None:
        """Of a local activity: it has ended, unless it is only backing off."""
        if marker.marker_name == LOCAL_ACTIVITY:
            data = msgspec.json.decode(marker.details["data"].payloads[0].data)
            if data["backoff"] is None:
                self.recorded.add((run_id, data["activity_id"]))


class Master(Protocol):
    """Who is asked what befalls a node, and told of what it did."""

    def at_next_commit(self) -> str | None:
        """What happens at this commit, of the kinds in `faults`."""
        ...

    def stall(self) -> None:
        """The node stands still from now on, for a while."""
        ...

    def drain(self) -> None:
        """The node is to stop."""
        ...

    def die(self) -> None:
        """The node is dead from now on."""
        ...

    def wrote(self, commit: Commit) -> None:
        """It is durable."""
        ...

    def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        """It tells the others something."""
        ...

    def listen(self, channel: str, hear: Hear) -> None:
        """It wants to hear what the others say."""
        ...

    def accuse(self, reason: str) -> None:
        """It asked for what the law does not allow."""
        ...


class NodeStore:
    """Serves `inner` for as long as the node lives.

    Args:
        latency: draws how long each commit takes, so that commands pile up behind it as they
            would behind a real disk.
    """

    def __init__(self, inner: Store, master: Master, latency: random.Random) -> None:
        self._inner = inner
        self._master = master
        self._latency = latency
        self._is_dead = False
        self.owed_since: float | None = None
        """Loop time at which it was opened, if dead workers then held something."""
        self.resumed_at: float | None = None
        """Loop time of the first durable commit."""

    async def open(self) -> None:
        """The store is open, for all nodes."""
        if await self._inner.in_flight(None, 1):
            self.owed_since = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """And stays open for the others."""

    is_shared = False  # the plan says how many nodes there are

    enlisting = None

    @property
    def transactional(self) -> None:
        """See `Store.transactional`: no program needs it."""
        return None

    async def notify(self, channel: str, notices: Sequence[bytes]) -> None:
        """See `Store.notify`."""
        await self._alive()
        self._master.notify(channel, notices)

    async def listen(self, channel: str, hear: Hear) -> None:
        """See `Store.listen`."""
        await self._alive()
        self._master.listen(channel, hear)

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Outcome | Unstorable]:
        """See `Store.commit`; may never return."""
        await self._alive()
        fault = self._master.at_next_commit()
        await asyncio.sleep(self._latency.uniform(0.0002, 0.003))
        if fault == "before":
            await self._die()
        if fault == "stall":
            self._master.stall()
            await asyncio.sleep(0)
        outcomes = await self._apply(commits)
        if fault == "after":
            await self._die()
        if fault == "drain":
            self._master.drain()
        await asyncio.sleep(self._latency.uniform(0.0, 0.001))
        return outcomes

    async def _apply(self, commits: Sequence[Commit]) -> Sequence[Outcome | Unstorable]:
        references = [_reference(commit.key) for commit in commits]
        for commit, before in zip(commits, await self._inner.load(references), strict=True):
            try:
                check_fold(before, commit)
            except AssertionError as error:  # the engine would take it for a store that is broken
                self._master.accuse(str(error))
                raise
        outcomes = await self._inner.commit(commits)
        self.resumed_at = self.resumed_at or asyncio.get_running_loop().time()
        for commit, outcome in zip(commits, outcomes, strict=True):
            if outcome is Outcome.APPLIED:
                self._master.wrote(commit)
        return outcomes

    async def _die(self) -> NoReturn:
        self._is_dead = True
        self._master.die()
        await _never()

    async def _alive(self) -> None:
        if self._is_dead:
            await _never()

    def __getattr__(self, name: str) -> Any:
        """Every other call of the inner store, for as long as the node lives."""
        method = getattr(self._inner, name)

        async def served(*args: Any, **kwargs: Any) -> Any:
            await self._alive()
            return await method(*args, **kwargs)

        return served


def _reference(key: ExecutionKey) -> Reference:
    return Reference(key.namespace, key.workflow_id, key.run_id)


async def _never() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("a dead store answered")
