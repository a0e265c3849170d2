"""What executions, their tasks and the queues of those are called."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class ExecutionKey(msgspec.Struct, frozen=True, order=True):
    """Names one run of one workflow."""

    namespace: str
    workflow_id: str
    run_id: str


class TaskKind(IntEnum):
    """The two kinds of work that workers pull."""

    WORKFLOW = 1
    ACTIVITY = 2


class QueueName(msgspec.Struct, frozen=True, order=True):
    """A task queue: workflow and activity tasks of one name are separate queues."""

    namespace: str
    name: str
    kind: TaskKind


class Task(msgspec.Struct, frozen=True):
    """A row of the durable queue: somebody should start this workflow or activity task.

    A hint, not the truth: the execution's state decides whether the task may still start.
    `stamp` is the attempt the row was written for, so that a stale row is recognised.
    """

    queue: QueueName
    key: ExecutionKey
    scheduled_event_id: int
    stamp: int = 1


class RecordRef(msgspec.Struct, frozen=True):
    """Names a record as it stands at a version: what is kept and is no execution."""

    kind: str
    namespace: str
    name: str
    version: int


class TaskRef(msgspec.Struct, frozen=True):
    """Names a task row to remove (at most one row exists for a kind and scheduled event)."""

    key: ExecutionKey
    kind: TaskKind
    scheduled_event_id: int
