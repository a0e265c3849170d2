"""Why a run does not go on: what it waits for, since when, and what there is to do about it.

One answer for `describe`, the command line, time-outs and test engines. It is a pure function of what a server can be
asked for: the description of the run, who polls its task queues, its newest events, and where its code stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
from temporalio.api.enums.v1 import EventType, PendingActivityState, PendingWorkflowTaskState, TaskQueueType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from perdure.api.digest import duration_words
from perdure.api.failures import headline
from perdure.api.status import is_open
from perdure.api.times import duration_ns, timestamp_ns

WORKFLOW_QUEUE = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITY_QUEUE = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
Queue = tuple[str, TaskQueueType.ValueType]
"""The name of a task queue, and what kind of tasks it has."""

_MEND = "the run goes on by itself when mended code is deployed"
_IN_PASSING_NS = 1_000_000_000
"""A task that has waited for less is on its way, and nothing to be told of."""
_LONG_NS = 5 * _IN_PASSING_NS
"""And after so long a worker had better be looked for, where nobody can tell who polls."""
_SHOWN = 3
TIMED_OUT = "the workflow task timed out: no worker answered in time"
_SITE = re.compile(r"^(?:.*[/\\])?([^/\\]+:\d+ in .+)$")
"""A line of perdure's `__stack_trace`, less its folder."""


class WaitKind(StrEnum):
    """What kind of thing a run waits for."""

    PAUSED = "paused"
    WORKFLOW_TASK = "workflow_task"
    START = "start"
    ACTIVITY = "activity"
    TIMER = "timer"
    CHILD = "child"
    EXTERNAL = "external"
    NEXUS = "nexus"
    CANCELLATION = "cancellation"
    MESSAGE = "message"


class Wait(msgspec.Struct, frozen=True):
    """One thing that a run waits for."""

    kind: WaitKind
    text: str
    """In words, such as `attempt 7 of activity charge (id 5) failed, next try in 40 s: ConnectionError: down`."""
    is_wrong: bool = False
    """Whether it will hardly end by itself."""
    advice: str = ""
    """What to do about it, where that is not plain."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server said of a run, at `now_ns` by its clock."""

    description: DescribeWorkflowExecutionResponse
    now_ns: int
    pollers: Mapping[Queue, Sequence[str]] = field(default_factory=dict[Queue, Sequence[str]])
    """Who polls each queue; one that is missing could not be asked for."""
    newest: Sequence[HistoryEvent] = ()
    """Events, the newest first."""
    stack: str = ""
    """The answer to `__stack_trace`."""


def queues_of(description: DescribeWorkflowExecutionResponse) -> list[Queue]:
    """Whose pollers matter to an open run: its own queue's, and those of activities that nobody runs now."""
    queues = {(description.workflow_execution_info.task_queue, WORKFLOW_QUEUE): None}
    for info in description.pending_activities:
        if (
            info.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
            and info.activity_options.task_queue.name
        ):
            queues[info.activity_options.task_queue.name, ACTIVITY_QUEUE] = None
    return list(queues)


def waits_of(seen: Seen) -> tuple[Wait, ...]:
    """What an open run waits for, what is wrong first; empty of a closed one."""
    description = seen.description
    if not is_open(description.workflow_execution_info.status):
        return ()
    found = [*_pause(seen), *_workflow_task(seen), *_start(seen), *_activities(seen), *_timers(seen)]
    found += [*_children(seen), *_external(seen), *_nexus(seen)]
    if not found and not description.HasField("pending_workflow_task"):
        found.append(
            Wait(WaitKind.MESSAGE, "it waits for a message (a signal, an update), or for a condition of its own")
        )
    if description.workflow_extended_info.cancel_requested:
        found.append(Wait(WaitKind.CANCELLATION, "its cancellation was asked for, and its code goes on"))
    return tuple(sorted(found, key=lambda wait: not wait.is_wrong))


def places_of(stack: str) -> tuple[str, ...]:
    """Where each branch of the code waits, `shop.py:31 in order`; empty of another SDK's stack trace."""
    innermost = (block.strip().partition("\n")[0] for block in stack.split("\n\n"))
    return tuple(found[1] for found in map(_SITE.match, innermost) if found is not None)


def sentence_of(waits: Sequence[Wait], places: Sequence[str]) -> str:
    """All of it in one line, "" when there is nothing to say."""
    if not waits:
        return ""
    texts = [f"{wait.text} ({wait.advice})" if wait.advice else wait.text for wait in waits[:_SHOWN]]
    if len(waits) > _SHOWN:
        texts.append(f"and {len(waits) - _SHOWN} more things")
    where = f"; its code waits at {', '.join(places[:_SHOWN])}" if places else ""
    return "; ".join(texts) + where


# --- the run itself -----------------------------------------------------------------------------------


def _pause(seen: Seen) -> Iterator[Wait]:
    extended = seen.description.workflow_extended_info
    if not extended.HasField("pause_info"):
        return
    info = extended.pause_info
    reason = f" ({info.reason})" if info.reason else ""
    by = f" by {info.identity}" if info.identity else ""
    yield Wait(
        WaitKind.PAUSED,
        f"it is paused{by} since {_ago(seen, timestamp_ns(info.paused_time))}{reason}",
        True,
        "unpause it",
    )


def _workflow_task(seen: Seen) -> Iterator[Wait]:
    description = seen.description
    if not description.HasField("pending_workflow_task"):
        return
    task = description.pending_workflow_task
    if task.attempt > 1:
        yield _failing(seen, task.attempt - 1)
        return
    queue = description.workflow_execution_info.task_queue
    if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED:
        yield Wait(WaitKind.WORKFLOW_TASK, f"a worker runs its code, for {_ago(seen, timestamp_ns(task.started_time))}")
    else:
        yield _queued(
            seen,
            WaitKind.WORKFLOW_TASK,
            "its workflow task",
            (queue, WORKFLOW_QUEUE),
            timestamp_ns(task.scheduled_time),
        )


def _failing(seen: Seen, failed: int) -> Wait:
    wait_ns = timestamp_ns(seen.description.pending_workflow_task.scheduled_time) - seen.now_ns
    again = f", next try in {duration_words(wait_ns)}" if wait_ns > 0 else ""
    why = task_failure_of(seen.newest)
    if why == TIMED_OUT:
        text = f"attempt {failed} of its workflow task timed out{again}"
        return Wait(WaitKind.WORKFLOW_TASK, text, True, "does its worker live, and does its code come to an end?")
    reason = f": {why}" if why else ""
    return Wait(WaitKind.WORKFLOW_TASK, f"attempt {failed} of its workflow task failed{again}{reason}", True, _MEND)


def task_failure_of(newest: Sequence[HistoryEvent]) -> str:
    """Why the last workflow task could not be completed, "" when history does not say.

    Only the first failure in a row is in history; the later ones say the same of the same code.
    """
    for event in newest:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return headline(event.workflow_task_failed_event_attributes.failure)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            return TIMED_OUT
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            break
    return ""


def _queued(seen: Seen, kind: WaitKind, what: str, queue: Queue, since_ns: int) -> Wait:
    """Something that is to be taken from a task queue."""
    name, waited_ns = queue[0], seen.now_ns - since_ns
    if queue in seen.pollers and not seen.pollers[queue]:
        text = f"{what} waits on the task queue {name!r}, which nobody polls, for {duration_words(max(waited_ns, 0))}"
        return Wait(kind, text, True, "start a worker for that queue, or correct its name")
    text = f"{what} waits on the task queue {name!r} for {duration_words(max(waited_ns, 0))}"
    if queue not in seen.pollers:
        return Wait(kind, text, waited_ns > _LONG_NS, "does a worker poll it?" if waited_ns > _LONG_NS else "")
    if waited_ns < _IN_PASSING_NS:
        return Wait(kind, f"{what} is on its way to a worker of the task queue {name!r}")
    return Wait(kind, f"{text}: its workers are busy, or gone", True)


def _start(seen: Seen) -> Iterator[Wait]:
    description = seen.description
    info = description.workflow_execution_info
    begins_ns = timestamp_ns(info.execution_time)
    if begins_ns > seen.now_ns and not description.HasField("pending_workflow_task"):
        yield Wait(WaitKind.START, f"it begins in {duration_words(begins_ns - seen.now_ns)}")


# --- what it asked for --------------------------------------------------------------------------------


def _activities(seen: Seen) -> Iterator[Wait]:
    for info in seen.description.pending_activities:
        yield _activity(seen, info)


def _activity(seen: Seen, info: PendingActivityInfo) -> Wait:
    name = f"activity {info.activity_type.name} (id {info.activity_id})"
    failed = f": attempt {info.attempt - 1} failed with {headline(info.last_failure)}" if _has_failed(info) else ""
    match info.state:
        case PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED:
            by = f" by {info.pause_info.manual.identity}" if info.pause_info.manual.identity else ""
            reason = f" ({info.pause_info.manual.reason})" if info.pause_info.manual.reason else ""
            return Wait(WaitKind.ACTIVITY, f"{name} is paused{by}{reason}{failed}", True, "unpause the activity")
        case PendingActivityState.PENDING_ACTIVITY_STATE_STARTED:
            return Wait(WaitKind.ACTIVITY, f"{_running(seen, info, name)}{failed}")
        case PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED:
            text = f"{_running(seen, info, name)}; no further attempt begins, for it is paused{failed}"
            return Wait(WaitKind.ACTIVITY, text, True, "unpause the activity")
        case PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED:
            return Wait(
                WaitKind.ACTIVITY, f"{name} was asked to stop and has not ended yet{_heartbeat(seen, info)}{failed}"
            )
        case _:
            return _scheduled(seen, info, name)


def _scheduled(seen: Seen, info: PendingActivityInfo, name: str) -> Wait:
    queue = info.activity_options.task_queue.name, ACTIVITY_QUEUE
    if not info.HasField("next_attempt_schedule_time"):
        queued = _queued(seen, WaitKind.ACTIVITY, name, queue, timestamp_ns(info.scheduled_time))
        if not _has_failed(info):
            return queued
        last = f"its attempt {info.attempt - 1} failed with {headline(info.last_failure)}"
        return Wait(WaitKind.ACTIVITY, f"{queued.text}; {last}", True, queued.advice)
    wait_ns = timestamp_ns(info.next_attempt_schedule_time) - seen.now_ns
    of = f" of {info.maximum_attempts}" if info.maximum_attempts else ""
    attempt, next_try = f"attempt {info.attempt - 1}{of}", f"next try in {duration_words(max(wait_ns, 0))}"
    unpolled = queue in seen.pollers and not seen.pollers[queue]
    text = f"{attempt} of {name} failed, {next_try}: {headline(info.last_failure)}"
    if unpolled:
        text = f"{text}; nobody polls its task queue {queue[0]!r}"
        return Wait(WaitKind.ACTIVITY, text, True, "start a worker for that queue")
    return Wait(WaitKind.ACTIVITY, text, True)


def _has_failed(info: PendingActivityInfo) -> bool:
    return info.attempt > 1 and info.HasField("last_failure")


def _running(seen: Seen, info: PendingActivityInfo, name: str) -> str:
    worker = f" at {info.last_worker_identity}" if info.last_worker_identity else ""
    since = _ago(seen, timestamp_ns(info.last_started_time))
    limit_ns = duration_ns(info.activity_options.start_to_close_timeout)
    limit = f", at most {duration_words(limit_ns)}" if limit_ns else ""
    return f"{name} runs{worker}, attempt {info.attempt}, for {since}{limit}{_heartbeat(seen, info)}"


def _heartbeat(seen: Seen, info: PendingActivityInfo) -> str:
    at_ns = timestamp_ns(info.last_heartbeat_time)
    return f", its last heartbeat {_ago(seen, at_ns)} ago" if at_ns else ""


_TIMER_ENDS = (EventType.EVENT_TYPE_TIMER_FIRED, EventType.EVENT_TYPE_TIMER_CANCELED)
_EXTERNAL_ENDS = {
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED: "external_workflow_execution_signaled_event_attributes",
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: (
        "signal_external_workflow_execution_failed_event_attributes"
    ),
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED: (
        "external_workflow_execution_cancel_requested_event_attributes"
    ),
    EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: (
        "request_cancel_external_workflow_execution_failed_event_attributes"
    ),
}


def _timers(seen: Seen) -> Iterator[Wait]:
    """Timers that neither fired nor were cancelled, the earliest first. No server describes them: history does."""
    ended: set[int] = set()
    pending: list[tuple[int, str]] = []
    for event in seen.newest:
        if event.event_type == _TIMER_ENDS[0]:
            ended.add(event.timer_fired_event_attributes.started_event_id)
        elif event.event_type == _TIMER_ENDS[1]:
            ended.add(event.timer_canceled_event_attributes.started_event_id)
        elif event.event_type == EventType.EVENT_TYPE_TIMER_STARTED and event.event_id not in ended:
            started = event.timer_started_event_attributes
            fires_ns = timestamp_ns(event.event_time) + duration_ns(started.start_to_fire_timeout)
            pending.append((fires_ns, started.timer_id))
    for fires_ns, timer_id in sorted(pending):
        left_ns = fires_ns - seen.now_ns
        when = f"fires in {duration_words(left_ns)}" if left_ns > 0 else f"is due for {duration_words(-left_ns)}"
        yield Wait(WaitKind.TIMER, f"timer {timer_id} {when}")


def _children(seen: Seen) -> Iterator[Wait]:
    for child in seen.description.pending_children:
        state = "has not ended" if child.run_id else "has not started yet"
        yield Wait(WaitKind.CHILD, f"child workflow {child.workflow_type_name} {child.workflow_id!r} {state}")


def _external(seen: Seen) -> Iterator[Wait]:
    ended: set[int] = set()
    for event in seen.newest:
        attributes = _EXTERNAL_ENDS.get(event.event_type)
        if attributes is not None:
            ended.add(getattr(event, attributes).initiated_event_id)
        elif event.event_id in ended:
            continue
        elif event.event_type == EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
            signal = event.signal_external_workflow_execution_initiated_event_attributes
            to = signal.workflow_execution.workflow_id
            yield Wait(WaitKind.EXTERNAL, f"its signal {signal.signal_name} to workflow {to!r} has not arrived yet")
        elif event.event_type == EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
            request = event.request_cancel_external_workflow_execution_initiated_event_attributes
            of = request.workflow_execution.workflow_id
            yield Wait(WaitKind.EXTERNAL, f"its cancellation of workflow {of!r} has not arrived yet")


def _nexus(seen: Seen) -> Iterator[Wait]:
    for operation in seen.description.pending_nexus_operations:
        name = f"Nexus operation {operation.service}.{operation.operation}"
        failed = operation.HasField("last_attempt_failure")
        why = f": attempt {operation.attempt} failed with {headline(operation.last_attempt_failure)}" if failed else ""
        yield Wait(WaitKind.NEXUS, f"{name} has not ended{why}", failed)


def _ago(seen: Seen, at_ns: int) -> str:
    return duration_words(max(seen.now_ns - at_ns, 0))
