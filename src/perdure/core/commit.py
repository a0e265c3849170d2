"""What must be durable before anything is visible.

A `Commit` is the whole outcome of deciding one or more commands on one execution. The shell hands
it to a store, which applies it entirely or not at all, and only when it is durable may the shell
deliver `dispatches` and `replies`. The order is the contract (after etcd raft's `Ready`):

1. events, the new state, tasks, messages and the deadline, in one transaction, only if `expected_version`
   is still the stored version (compare-and-set: the only concurrency control there is);
2. then, and only then, dispatches to reserved pollers and replies to callers.

When the compare-and-set fails the shell drops the cached execution, releases the reserved
pollers, loads it again and decides the same commands once more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.protocol.v1 import Message as ProtocolMessage
from temporalio.api.update.v1 import Outcome

from perdure.api.errors import Rejected
from perdure.core.schedule.calendars import Zone, utc
from perdure.core.schedule.fields import BadSpec

if TYPE_CHECKING:
    from perdure.core.limits import Limits
    from perdure.core.message import Message as OutboxMessage
    from perdure.core.state import Activity, Execution


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
    priority: int = 0


class TaskRef(msgspec.Struct, frozen=True):
    """Names a task row to remove (at most one row exists for a kind and scheduled event)."""

    key: ExecutionKey
    kind: TaskKind
    scheduled_event_id: int


class Poller(Protocol):
    """A waiting poll that the shell has set aside for this commit."""

    @property
    def identity(self) -> str: ...


class StartedWorkflowTask(msgspec.Struct):
    """A workflow task that a worker may now work on. History is attached by the shell."""

    key: ExecutionKey
    token: bytes
    workflow_type: str
    attempt: int
    scheduled_event_id: int
    started_event_id: int
    previous_started_event_id: int
    """0 when no workflow task has completed yet; a sticky worker is sent only later events."""
    scheduled_at_ns: int
    started_at_ns: int
    sticky: bool
    task_queue: str
    """The normal one, also when the task goes to a sticky queue."""
    transient_events: list[HistoryEvent]
    """Scheduled and Started events of an attempt > 1, or of a speculative task: sent to the worker, not in history."""
    messages: list[ProtocolMessage] = []
    """Protocol messages: the updates that wait for an answer."""


class StartedActivityTask(msgspec.Struct):
    """An activity attempt that a worker may now run. The scheduled event is attached by the shell."""

    key: ExecutionKey
    token: bytes
    workflow_type: str
    activity_id: str
    scheduled_event_id: int
    attempt: int
    scheduled_at_ns: int
    current_attempt_scheduled_at_ns: int
    started_at_ns: int
    heartbeat_details: bytes
    """Serialised `Payloads` of the last recorded heartbeat, empty when there is none."""
    options: Activity | None = None
    """The options that hold instead of those of the scheduled event, None: those do."""


StartedTask = StartedWorkflowTask | StartedActivityTask


class Dispatch(msgspec.Struct, frozen=True):
    """A started task for a poller that was reserved; delivered once durable."""

    poller: Poller
    task: StartedTask


class Started(msgspec.Struct, frozen=True):
    """Reply to StartWorkflow. `created` is False when another request's run was returned (USE_EXISTING)."""

    run_id: str
    created: bool
    status: int
    """temporal.api.enums.v1.WorkflowExecutionStatus of that run."""
    first_run_id: str = ""
    """The run that its chain began with."""
    workflow_task: StartedWorkflowTask | None = None
    """The first one, for a caller that is a worker and asked to begin at once."""
    is_attached: bool = False
    """Another request's run, which was told of this one."""


class WorkflowTaskCompleted(msgspec.Struct, frozen=True):
    """Reply to CompleteWorkflowTask: what the worker gets in the same breath."""

    workflow_task: StartedWorkflowTask | None
    activity_tasks: list[StartedActivityTask]
    reset_history_event_id: int = 0
    """The speculative task was dropped: forget what came after this event. 0: it was not."""


class UpdateStanding(msgspec.Struct, frozen=True):
    """Reply to AdmitUpdate: how far the update of this id has come."""

    run_id: str
    update_id: str
    stage: int
    """temporal.api.enums.v1.UpdateWorkflowExecutionLifecycleStage."""
    completed_event_id: int = 0
    """Where history holds the outcome; 0 at stage COMPLETED: the run closed before there was one."""


class UpdateNews(msgspec.Struct, frozen=True):
    """What becomes of an update with a commit: told to those who wait for it, once durable."""

    update_id: str
    stage: int
    """The stage it has reached: ACCEPTED or COMPLETED; 0: it never will, for the reason in `refusal`."""
    outcome: Outcome | None = None
    refusal: Rejected | None = None


class HeartbeatRecorded(msgspec.Struct, frozen=True):
    """Reply to RecordHeartbeat."""

    cancel_requested: bool
    is_paused: bool = False
    is_reset: bool = False


def _always(queue: QueueName) -> bool:
    return True


def _utc_alone(name: str) -> Zone:
    if name in ("", "UTC"):
        return utc
    raise BadSpec(f"unknown time zone {name}")


@dataclass(slots=True)
class Context:
    """All that the law is told about the outside."""

    now_ns: int
    """Wall-clock time in nanoseconds since the epoch."""
    new_id: Callable[[], str]
    """A fresh UUID version 7."""
    reserve: Callable[[QueueName], Poller | None]
    """Set a waiting poller of that queue aside for this commit, or None when nobody waits."""
    has_worker: Callable[[QueueName], bool] = _always
    """Whether the worker behind this sticky queue is alive (polled lately). If not, the next workflow
    task goes to the normal queue at once, instead of after its schedule-to-start time-out."""
    limits: Limits | None = None
    """None: `perdure.core.limits.DEFAULT_LIMITS`."""
    find_zone: Callable[[str], Zone] = _utc_alone
    """The time zone of a name, for cron schedules. Raises `perdure.core.schedule.fields.BadSpec`."""
    attribute_type: Callable[[str, str, int], int] | None = None
    """Of a namespace, a search attribute's name and the type that its value says it has (0: none): the type that the
    attribute is registered with, 0 when it is not. None: everything may be set."""


class Commit(msgspec.Struct, eq=False):
    """The outcome of one or more commands on one execution, applied entirely or not at all."""

    key: ExecutionKey
    expected_version: int
    """The stored version this was decided on; 0: the run must not exist yet."""
    execution: Execution | None
    """The state after; `execution.version == expected_version + 1`. None: nothing exists and nothing was made."""
    events: list[HistoryEvent] = []
    """Appended to history in this order, as one batch; may be empty (an attempt started, a heartbeat)."""
    encoded: list[bytes] = []
    """The same events, serialised: no event is changed, or serialised again, once it was appended."""
    add_tasks: list[Task] = []
    remove_tasks: list[TaskRef] = []
    wake_at_ns: int | None = None
    """The earliest deadline as it is to be stored; None: no wake-up is owed."""
    expected_current_run_id: str | None = None
    """For a commit that starts a run: the run that must be the workflow id's current one, None: no run."""
    next_run: Commit | None = None
    """A run that starts in the same transaction (continue-as-new, cron, terminate-if-running)."""
    dispatches: list[Dispatch] = []
    replies: list[Any] = []
    """One per command decided, in order: a value, or the `Rejected` that it met."""
    updates: list[UpdateNews] = []
    """What became of updates, in order."""
    messages: list[OutboxMessage] = []
    """What other workflows are to be told, durable with the commit and delivered after it."""
    remove_messages: list[str] = []
    """Ids of messages, of this execution or another, that need not be delivered any more."""
    parts: dict[int, bytes] = {}
    """What is kept beside the snapshot (`core.apart`) and changes, by event; empty: it goes."""
    index_changed: bool = False
    """What the run can be found by, beside the fields of every run, is not what it was."""
    changed: bool = True
    """False: nothing to store, only replies to deliver."""

    @property
    def starts_run(self) -> bool:
        return self.expected_version == 0
