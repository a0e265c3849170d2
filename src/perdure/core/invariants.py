"""What is always true of an execution and of a commit, by name. Checked in tests and simulation.

I1  event ids are dense and ascending across commits, and no event changes once it was appended.
I2  exactly one event closes a run, and it is the last.
I3  at most one workflow task is in flight: in history or transient, never both.
I4  a started workflow task or activity attempt has a deadline of its own that the stored one does not exceed.
I5  a closed execution owes nothing: no task, no activity, no timer, no buffered event, no wake-up.
I6  every pending activity has exactly one attempt record, and ids and events agree.
I7  an activity whose closing event is buffered waits behind a started workflow task.
I8  a timer whose firing is buffered is pending, and its event is buffered.
I9  events are buffered only while a workflow task is started.
I10 a task is handed out, or added to the queue, only if the state says that it is owed.
I11 the stored deadline is never later than the true one.
I12 an event points only at earlier events.
I13 what is said of children and external requests beside history is about pending ones, and only while it is buffered.
I14 an update waits for an answer or is in history, not both; while one waits, a workflow task is owed, or is to come.
I15 what is owed to workers, and held by none, has a row on a queue.
"""

from __future__ import annotations

from collections.abc import Set

from google.protobuf.message import Message
from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.api.status import is_open
from perdure.core import activity, deadlines, start
from perdure.core.commit import Commit
from perdure.core.names import TaskKind
from perdure.core.state import Execution

CLOSING_EVENTS = frozenset(
    (
        enums.WORKFLOW_EXECUTION_COMPLETED,
        enums.WORKFLOW_EXECUTION_FAILED,
        enums.WORKFLOW_EXECUTION_TIMED_OUT,
        enums.WORKFLOW_EXECUTION_CANCELED,
        enums.WORKFLOW_EXECUTION_TERMINATED,
        enums.WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    )
)


class InvariantBroken(AssertionError):
    """The law broke its own promise; the message begins with the invariant's name."""


def _require(holds: bool, name: str, detail: object = "") -> None:
    if not holds:
        raise InvariantBroken(f"{name}: {detail}")


def check(execution: Execution) -> None:
    """Every invariant of a state. Raises InvariantBroken."""
    facts = execution.facts
    _require(not (execution.workflow_task and facts.transient_task), "I3", execution.key)
    if not execution.is_open:
        _check_closed(execution)
        return
    _check_activities(execution)
    _check_buffer(execution)
    _check_outside(execution)
    _check_updates(execution)
    true_deadline = deadlines.earliest(execution)
    if true_deadline is not None:
        stored = execution.wake_at_ns
        _require(stored is not None and stored <= true_deadline, "I11", (stored, true_deadline))
    task = execution.current_task
    if task is not None and task.started_event_id:
        _require(true_deadline is not None, "I4", task)


def _check_closed(execution: Execution) -> None:
    facts = execution.facts
    owed = (
        execution.current_task,
        execution.activities,
        execution.activity_ids,
        execution.timers,
        execution.wake_at_ns,
        facts.attempts,
        facts.fired_timers,
        facts.buffered,
        execution.children,
        execution.externals,
        facts.starting,
        facts.settled,
        facts.updates,
    )
    _require(not any(owed), "I5", owed)
    _require(not is_open(execution.status), "I5", "closed and running")


def _check_activities(execution: Execution) -> None:
    facts = execution.facts
    _require(execution.activities.keys() == facts.attempts.keys(), "I6", execution.key)
    ids = {pending.activity_id: event_id for event_id, pending in execution.activities.items()}
    _require(ids == execution.activity_ids, "I6", ids)
    for event_id, attempt in facts.attempts.items():
        _require(execution.activities[event_id].scheduled_event_id == event_id, "I6", event_id)
        if attempt.state == activity.State.CLOSING:
            _require(execution.task_started, "I7", event_id)
        if attempt.state == activity.State.STARTED:
            _require(activity.next_deadline(execution.activities[event_id], attempt) is not None, "I4", event_id)


def _check_buffer(execution: Execution) -> None:
    facts = execution.facts
    _require(not facts.buffered or execution.task_started, "I9", len(facts.buffered))
    _require(facts.fired_timers <= execution.timers.keys(), "I8", facts.fired_timers)
    if facts.fired_timers:
        waiting = [HistoryEvent.FromString(data) for data in facts.buffered]
        fired = {e.timer_fired_event_attributes.timer_id for e in waiting if e.event_type == enums.TIMER_FIRED}
        _require(fired == facts.fired_timers, "I8", fired)


def _check_outside(execution: Execution) -> None:
    facts = execution.facts
    pending = execution.children.keys() | execution.externals.keys()
    _require(facts.starting <= execution.children.keys(), "I13", facts.starting)
    _require(facts.settled <= pending, "I13", facts.settled)
    _require(execution.task_started or not (facts.starting or facts.settled), "I13", "nothing is buffered")


def _check_updates(execution: Execution) -> None:
    waiting = execution.facts.updates
    if not waiting:
        return
    _require(waiting.keys().isdisjoint(execution.updates), "I14", waiting.keys())
    is_to_come = execution.current_task is not None or start.waits_for_first_task(execution) or _is_paused(execution)
    _require(is_to_come, "I14", waiting.keys())


def _is_paused(execution: Execution) -> bool:
    return execution.status == enums.PAUSED


def check_commit(commit: Commit) -> None:
    """Every invariant of a commit, after it was decided. Raises InvariantBroken."""
    execution = commit.execution
    if execution is None:
        return
    first = execution.next_event_id - len(commit.events)
    _require([e.event_id for e in commit.events] == list(range(first, execution.next_event_id)), "I1", commit.key)
    closing = [e.event_id for e in commit.events if e.event_type in CLOSING_EVENTS]
    _require(len(closing) <= 1, "I2", closing)
    if closing:
        _require(closing[0] == execution.next_event_id - 1 and not execution.is_open, "I2", closing)
    for event in commit.events:
        _check_references(event)
    _check_tasks(commit, execution)
    _require(commit.encoded == [event.SerializeToString() for event in commit.events], "I1", commit.key)


_FOREIGN = {"parent_initiated_event_id", "external_initiated_event_id"}
"""These point into another run's history."""


def _check_references(event: HistoryEvent) -> None:
    which = event.WhichOneof("attributes")
    _require(which is not None, "I12", event.event_type)
    attributes: Message = getattr(event, str(which))
    for field, value in attributes.ListFields():
        if field.name.endswith("event_id") and field.name not in _FOREIGN:
            _require(0 < value < event.event_id, "I12", (event.event_id, field.name, value))


def _check_tasks(commit: Commit, execution: Execution) -> None:
    attempts = execution.facts.attempts
    for task in commit.add_tasks:
        if task.queue.kind == TaskKind.WORKFLOW:
            owed = execution.current_task
            _require(owed is not None and owed.scheduled_event_id == task.scheduled_event_id, "I10", task)
        else:
            attempt = attempts.get(task.scheduled_event_id)
            _require(attempt is not None and attempt.state == activity.State.SCHEDULED, "I10", task)


def owed_rows(execution: Execution) -> set[tuple[TaskKind, int]]:
    """The task rows that a state must have (I15), each by its kind and the event that scheduled it."""
    if not execution.is_open or _is_paused(execution):
        return set()
    owed = {
        (TaskKind.ACTIVITY, event_id)
        for event_id, attempt in execution.facts.attempts.items()
        if attempt.state == activity.State.SCHEDULED
    }
    task = execution.current_task
    if task is not None and not task.started_event_id and not execution.facts.task_not_before_ns:
        owed.add((TaskKind.WORKFLOW, task.scheduled_event_id))
    return owed


def check_rows(execution: Execution, rows: Set[tuple[TaskKind, int]]) -> None:
    """Whether each task row that is owed is among these. Raises InvariantBroken."""
    missing = owed_rows(execution) - rows
    tasks = [f"the {kind.name.lower()} task of event {event_id} is on no queue" for kind, event_id in sorted(missing)]
    _require(not missing, "I15", ", ".join(tasks))
