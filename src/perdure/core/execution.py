"""The aggregate: one run of one workflow, folded from its events.

`Execution` holds two kinds of knowledge. Its own fields are the fold of its history and nothing
else: `evolve` is the only code that writes them, live, on rebuild, in `fsck` and in tests.
`facts` is the little that Temporal's model keeps out of history (attempt counts, who holds a
task, the last heartbeat, buffered events, the sticky queue): losing it costs work, never truth.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from temporalio.api.history.v1 import HistoryEvent

from perdure.core.commands import Command
from perdure.core.commit import Commit, Context, ExecutionKey


class Execution(msgspec.Struct):
    """State of one run. Only core changes it; the shell reads the fields below."""

    key: ExecutionKey
    version: int
    """Number of commits applied; what the compare-and-set compares."""
    workflow_type: str
    task_queue: str
    status: int
    """temporal.api.enums.v1.WorkflowExecutionStatus."""
    started_at_ns: int
    closed_at_ns: int | None
    next_event_id: int
    wake_at_ns: int | None
    """The deadline as stored: never later than the earliest true one."""

    @property
    def in_flight(self) -> bool:
        """Whether a worker holds a task of this execution."""
        raise NotImplementedError


def encode(execution: Execution) -> bytes:
    """The snapshot that stores keep (msgpack)."""
    raise NotImplementedError


def decode(snapshot: bytes) -> Execution:
    """Raises msgspec.ValidationError when the bytes are not a snapshot."""
    raise NotImplementedError


def evolve(execution: Execution, event: HistoryEvent) -> None:
    """Fold one event into the state: the only writer of what history says."""
    raise NotImplementedError


def decide(execution: Execution | None, commands: Sequence[Command], context: Context) -> Commit:
    """Fold commands, one after another, into one Commit, changing `execution` in place.

    `execution` is the run the commands address (None: the workflow id has no run yet). A refused
    command leaves the state untouched and its place in `Commit.replies` holds the `Rejected`.

    A StartWorkflow may succeed a closed run: then the commit is the new run's. It may terminate an
    open one (conflict policy TERMINATE_EXISTING): then the new run is `next_run`. When nothing at
    all changed (every command refused or a no-op) the commit has `changed` False and must not be
    stored, only its replies delivered.
    """
    raise NotImplementedError
