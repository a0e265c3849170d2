"""The state of one run: what history says, and the few facts that Temporal keeps out of history.

`Execution`'s own fields are the fold of its events and of nothing else; only functions registered
with `perdure.core.fold` write them. `facts` is decided, not folded. Both go into the snapshot.

The structs are arrays on disk (msgpack, `array_like`): small and fast to write at every commit.
New fields go to the END of a struct and have a default, so that older snapshots still decode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum

import msgspec

from perdure.api.backoff import RetryPolicy
from perdure.api.status import RUNNING
from perdure.core.message import Origin
from perdure.core.names import ExecutionKey


class WorkflowTask(msgspec.Struct, array_like=True):
    """The one workflow task that a run has at a time: scheduled, and perhaps started."""

    scheduled_event_id: int
    attempt: int
    scheduled_at_ns: int
    start_to_close_ns: int
    queue: str
    sticky: bool
    started_event_id: int = 0
    """0: not started."""
    started_at_ns: int = 0
    identity: str = ""
    request_id: str = ""


class Activity(msgspec.Struct, array_like=True):
    """An activity that history has scheduled and not closed. Durations in nanoseconds, 0: no limit."""

    scheduled_event_id: int
    activity_id: str
    activity_type: str
    task_queue: str
    scheduled_at_ns: int
    schedule_to_close_ns: int
    schedule_to_start_ns: int
    start_to_close_ns: int
    heartbeat_ns: int
    retry: RetryPolicy | None
    cancel_requested_event_id: int = 0
    priority: bytes = b""
    """Serialised `Priority`; empty: none was asked for."""


class Control(msgspec.Struct, array_like=True):
    """What operators did to a pending activity."""

    paused_at_ns: int = 0
    """0: it is not paused."""
    paused_by: str = ""
    pause_reason: str = ""
    reset_requested: bool = False
    """The attempt that a worker runs counts as the first, whatever its number: if it fails, the second follows."""
    options: Activity | None = None
    """What holds instead of what history says."""
    heartbeat_reset: bool = False
    """What the running attempt reports is not for the next one."""


class AttemptState(IntEnum):
    """Where an attempt of an activity stands; `perdure.core.activity` has the table of it."""

    NONE = 0
    SCHEDULED = 1
    """On a queue."""
    STARTED = 2
    BACKING_OFF = 3
    """Waits for its next attempt."""
    CLOSING = 4
    """Its closing event is decided; it waits while a worker holds the workflow task."""
    CLOSED = 5
    PAUSED = 6
    """No worker may have it until it is unpaused."""


_STARTED = AttemptState.STARTED


class Attempt(msgspec.Struct, array_like=True):
    """Where a pending activity stands: kept out of history, as Temporal does."""

    state: int
    """An `AttemptState`."""
    attempt: int
    scheduled_at_ns: int
    """When this attempt was, or after its back-off will be, put on the queue."""
    started_at_ns: int = 0
    identity: str = ""
    request_id: str = ""
    heartbeat_at_ns: int = 0
    heartbeat_details: bytes = b""
    """Serialised `Payloads`; survives attempts."""
    last_failure: bytes = b""
    """Serialised `Failure` of the attempt before."""
    last_worker_identity: str = ""
    control: Control | None = None
    completed_at_ns: int = 0
    """When the attempt before this one ended. 0: there was none."""
    moved_ns: int = 0
    """By so much the clock was set since the activity was scheduled (`core.clock_moved`)."""
    home: str = ""
    """The node that the worker dies with which holds it, or that worker (`core.context.Poller`); empty: none."""


class Timer(msgspec.Struct, array_like=True):
    """A user timer that history has started and not closed."""

    timer_id: str
    started_event_id: int
    fire_at_ns: int


class PendingUpdate(msgspec.Struct, array_like=True):
    """An update that was admitted and that no worker has answered yet."""

    request: bytes
    """Serialised `temporal.api.update.v1.Request`."""
    sent: bool = False
    """A worker was told of it."""
    is_in_history: bool = False
    """An Admitted event says it: workers are told by that event, and by no message."""


class Update(msgspec.Struct, array_like=True):
    """An update that history has accepted."""

    accepted_event_id: int
    completed_event_id: int = 0
    """0: it has no outcome yet."""


class Child(msgspec.Struct, array_like=True):
    """A child workflow that history has initiated and not closed."""

    initiated_event_id: int
    namespace: str
    workflow_id: str
    workflow_type: str
    parent_close_policy: int
    control: str = ""
    header: bytes | None = None
    """Serialised `Header` until the child has started: its Started event repeats it."""
    started_event_id: int = 0
    """0: not known to have started."""
    run_id: str = ""
    """Of its first run."""


class External(msgspec.Struct, array_like=True):
    """A signal to, or a request to cancel, another workflow that history has initiated and not resolved."""

    initiated_event_id: int
    is_cancel: bool
    namespace: str
    workflow_id: str
    run_id: str
    control: str = ""


class Facts(msgspec.Struct, array_like=True):
    """What is known beside history: losing it costs work, never what history says."""

    request_id: str = ""
    """Of the start request: the same start again is answered with this run."""
    transient_task: WorkflowTask | None = None
    """The workflow task of an attempt > 1, whose events enter history only if it completes."""
    task_attempt: int = 1
    """Of the next workflow task to be scheduled."""
    task_not_before_ns: int = 0
    """The transient task is not queued before this time: back-off of a failing workflow. 0: it is queued."""
    sticky_queue: str = ""
    sticky_schedule_to_start_ns: int = 0
    attempts: dict[int, Attempt] = {}
    """By scheduled event id, for every pending activity."""
    fired_timers: set[str] = set()
    """Pending timers whose TimerFired event is buffered."""
    buffered: list[bytes] = []
    """Serialised events that wait for the running workflow task to end, in order of arrival."""
    signal_requests: dict[int, bool] = {}
    """The newest signals served, each by eight bytes of its request id's hash; oldest first."""
    updates: dict[str, PendingUpdate] = {}
    """Admitted updates by update id, in order of admission."""
    starting: set[int] = set()
    """Initiated events of children whose Started event is buffered."""
    settled: set[int] = set()
    """Initiated events of children and external requests whose last event is buffered."""
    reset_at_ns: int = 0
    """When this run began as a reset of another: its history began earlier. 0: it did not."""
    is_closing: bool = False
    """The last workflow task would have closed the run, but something came: signals wait while the next one runs."""
    apart: set[int] = set()
    """Events whose bytes stores keep beside the snapshot (`core.apart`): heartbeat details of an activity by its
    Scheduled event, `first_event` by event 1."""
    state_bytes: int = 0
    """How large the state was when it was last written: the snapshot, and what is kept apart."""
    run_moved_ns: int = 0
    """By so much the clock was set since the run began (`core.clock_moved`)."""
    task_moved: tuple[int, int] = (0, 0)
    """The same of the current workflow task: the instant that its time-out counts from, and by how much."""
    timers_moved: dict[int, int] = {}
    """The same of pending timers, by started event id: only by a clock that was set back."""
    task_home: str = ""
    """The node that the worker dies with which holds the workflow task, or held the last one: that one serves the
    sticky queue. Empty: none."""


class Paused(msgspec.Struct, array_like=True):
    """Who paused a run, and why."""

    at_ns: int
    identity: str
    reason: str
    request_id: str


class Execution(msgspec.Struct, array_like=True):
    """State of one run. Only core changes it; the shell reads the fields below."""

    key: ExecutionKey
    version: int
    """Number of commits applied; what the compare-and-set compares."""
    workflow_type: str = ""
    task_queue: str = ""
    status: int = RUNNING
    """temporal.api.enums.v1.WorkflowExecutionStatus."""
    started_at_ns: int = 0
    closed_at_ns: int | None = None
    next_event_id: int = 1
    wake_at_ns: int | None = None
    """The deadline as stored: never later than the earliest true one."""
    first_run_id: str = ""
    """`first_execution_run_id`: the run that the chain of continued runs began with."""
    task_timeout_ns: int = 0
    """Workflow task start-to-close."""
    execution_timeout_ns: int = 0
    run_timeout_ns: int = 0
    """0: no limit, as for all time-outs of this struct."""
    execution_expires_at_ns: int = 0
    first_task_backoff_ns: int = 0
    cancel_requested: bool = False
    started_task_completed: int = 0
    """Started event of the last completed workflow task: what workers have seen. 0: none completed."""
    history_bytes: int = 0
    workflow_task: WorkflowTask | None = None
    activities: dict[int, Activity] = {}
    """Pending ones by scheduled event id, in that order."""
    activity_ids: dict[str, int] = {}
    """Pending activity id -> scheduled event id."""
    timers: dict[str, Timer] = {}
    """Pending ones by timer id."""
    attempt: int = 1
    """Of this run, when the whole workflow is retried."""
    retry: RetryPolicy | None = None
    """Of the whole workflow."""
    first_event: bytes = b""
    """Serialised attributes of WorkflowExecutionStarted, kept if a retry or a cron schedule may need them again."""
    facts: Facts = msgspec.field(default_factory=Facts)
    updates: dict[str, Update] = {}
    """Accepted ones by update id, also those that have their outcome."""
    parent: Origin | None = None
    """The run and event that initiated this one as a child."""
    root_workflow_id: str = ""
    """Of the run at the top of the tree of children; empty: this one is it."""
    root_run_id: str = ""
    children: dict[int, Child] = {}
    """Pending ones by initiated event id."""
    externals: dict[int, External] = {}
    """Unresolved ones by initiated event id."""
    memo: dict[str, bytes] = {}
    """Serialised `Payload` by key: notes for people and tools."""
    search_attributes: dict[str, bytes] = {}
    """Serialised `Payload` by name."""
    priority: bytes | None = None
    """Serialised `Priority` that it was started with."""
    paused: Paused | None = None
    versioning_override: bytes | None = None
    """Serialised `VersioningOverride`: the version that the run is held to."""
    attached: dict[str, int] = {}
    """Request ids of starts that found this run and made themselves known to it -> the event that says so."""
    last_event_ns: int = 0
    """The latest time that an event of the run has."""

    @property
    def is_open(self) -> bool:
        return self.closed_at_ns is None

    @property
    def current_task(self) -> WorkflowTask | None:
        """The scheduled or started workflow task, in history or transient."""
        return self.workflow_task or self.facts.transient_task

    @property
    def task_started(self) -> bool:
        """Whether a worker works on a workflow task, so that other events must wait behind it."""
        task = self.workflow_task or self.facts.transient_task
        return task is not None and task.started_event_id != 0

    @property
    def in_flight(self) -> bool:
        """Whether the death of every worker concerns this execution: `LoseWorkers` has something to do.

        A worker holds a task of it, a queue that only one worker serves does, or its workflow task
        waits out failures that a restart with mended code may end.
        """
        if self.closed_at_ns is not None:
            return False
        if self.facts.task_not_before_ns:
            return True
        task = self.workflow_task or self.facts.transient_task
        if task is not None and (task.started_event_id or task.sticky):
            return True
        for attempt in self.facts.attempts.values():  # noqa: SIM110 - asked at every commit
            if attempt.state == _STARTED:
                return True
        return False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Execution)


FIRST_EVENT_ID = 1


def encode(execution: Execution) -> bytes:
    """The snapshot that stores keep (msgpack), without what they keep beside it. Sets `facts.state_bytes`."""
    facts = execution.facts
    if not facts.apart:
        snapshot = _encoder.encode(execution)
        facts.state_bytes = len(snapshot)
        return snapshot
    parts = _take_out(execution)
    try:
        snapshot = _encoder.encode(execution)
    finally:
        _put_in(execution, parts)
    facts.state_bytes = len(snapshot) + _counted(parts)
    return snapshot


def decode(snapshot: bytes, read_parts: Callable[[], Mapping[int, bytes]] | None = None) -> Execution:
    """The state of a snapshot; `read_parts` is asked for what is kept beside it, if anything is. None: it is left out.

    Raises msgspec.DecodeError (of which ValidationError is one) when the bytes are no snapshot, or a part is missing.
    """
    execution = _decoder.decode(snapshot)
    facts = execution.facts
    facts.state_bytes = len(snapshot)
    if read_parts is not None and facts.apart:
        parts = read_parts()
        missing = facts.apart - parts.keys()
        if missing:
            raise msgspec.DecodeError(f"the state lacks what belongs to its events {sorted(missing)}")
        _put_in(execution, {event_id: parts[event_id] for event_id in facts.apart})
        facts.state_bytes += _counted(parts)
    return execution


def _counted(parts: Mapping[int, bytes]) -> int:
    """What a run was started with is no growth of its state, and Temporal has it in history alone."""
    return sum(len(data) for event_id, data in parts.items() if event_id != FIRST_EVENT_ID)


def parts_of(execution: Execution) -> dict[int, bytes]:
    """What of a state stores keep beside its snapshot, by event (`core.apart`)."""
    attempts = execution.facts.attempts
    return {
        event_id: execution.first_event if event_id == FIRST_EVENT_ID else attempts[event_id].heartbeat_details
        for event_id in execution.facts.apart
    }


def _take_out(execution: Execution) -> dict[int, bytes]:
    """What is kept apart, by event; it is not in the state any more."""
    parts = parts_of(execution)
    _put_in(execution, dict.fromkeys(parts, b""))
    return parts


def _put_in(execution: Execution, parts: Mapping[int, bytes]) -> None:
    for event_id, data in parts.items():
        if event_id == FIRST_EVENT_ID:
            execution.first_event = data
        else:
            execution.facts.attempts[event_id].heartbeat_details = data
