"""The runs kept in memory between workflow tasks, least recently used first to go.

A cached run costs no replay. It belongs to the thread that first ran it (its greenlet cannot
move), and it is taken out of the cache while a task of it is in hand: if the server hands the
same run out a second time, because it gave up on the first, the second starts from history and
the two never meet.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.replay.local_work import Report
from perdure.sdk.replay.outcome import TaskOutcome
from perdure.sdk.worker.config import MACHINE_BYTES

if TYPE_CHECKING:
    from perdure.sdk.worker.local_activities import LocalRun


class Machine(Protocol):
    """What the worker asks of `sdk.replay.machine.WorkflowMachine`."""

    history_length: int
    """The WorkflowTaskStarted event being processed: grows while a long history is replayed."""

    def process(self, task: PollWorkflowTaskQueueResponse | Report) -> TaskOutcome: ...

    def close(self) -> None: ...


class CachedRun:
    """One run's machine, where it lives and what it weighs."""

    __slots__ = ("bytes", "definition", "home", "local", "machine", "run_id")

    def __init__(self, run_id: str, definition: AnyWorkflow, machine: Machine, home: object) -> None:
        self.run_id = run_id
        self.definition = definition
        self.machine = machine
        self.home = home
        """The thread that owns it."""
        self.bytes = MACHINE_BYTES
        """An upper guess: the machine and all history it has read."""
        self.local: LocalRun | None = None
        """Its local activities that are under way."""

    def let_go(self) -> None:
        """The run will not be used again: nobody waits for its local activities."""
        if self.local is not None:
            self.local.let_go()
            self.local = None


class RunCache:
    """Bounded by count and by weight. Used on the loop alone.

    Args:
        dispose: closes a machine, on the thread that it belongs to.
    """

    def __init__(self, most_runs: int, most_bytes: int, dispose: Callable[[CachedRun], None]) -> None:
        self._runs: OrderedDict[str, CachedRun] = OrderedDict()
        self._most_runs = most_runs
        self._most_bytes = most_bytes
        self._dispose = dispose
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def take(self, run_id: str) -> CachedRun | None:
        """Remove and return; the taker puts it back or disposes of it."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            self.bytes -= run.bytes
        return run

    def put(self, run: CachedRun) -> None:
        """Keep a run, and let go of the least recently used beyond the bounds."""
        other = self.take(run.run_id)
        if other is not None:
            if other.machine.history_length > run.machine.history_length:
                run, other = other, run  # the run's next task was quicker than the way back of this one
            self._dispose(other)
        self._runs[run.run_id] = run
        self.bytes += run.bytes
        while self._runs and (len(self._runs) > self._most_runs or self.bytes > self._most_bytes):
            _, oldest = self._runs.popitem(last=False)
            self.bytes -= oldest.bytes
            self._dispose(oldest)

    def evict_home(self, home: object) -> int:
        """Let go of all runs of a thread that is given up. Returns how many there were."""
        lost = [run for run in self._runs.values() if run.home is home]
        for run in lost:
            self.take(run.run_id)
            self._dispose(run)
        return len(lost)

    def clear(self) -> None:
        """Let go of all."""
        while self._runs:
            _, run = self._runs.popitem()
            self._dispose(run)
        self.bytes = 0


class ReplaySlot:
    """A place among those who may replay at the same time (`WorkerConfig.replay_slots`)."""

    __slots__ = ("_is_held", "_slots")

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._is_held = False

    async def take(self) -> None:
        """Returns when there is one: in the order of asking."""
        await self._slots.acquire()
        self._is_held = True

    def free(self) -> None:
        """Leave it to the next one; without effect when it is not held."""
        if self._is_held:
            self._is_held = False
            self._slots.release()
