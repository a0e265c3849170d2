"""What a pause does to that which is queued, and its end.

Apart from `pause` because a pause that waited behind a workflow task takes hold when the events behind it
enter history.
"""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.core import activity, workflow_task, workflow_task_events
from perdure.core.names import TaskKind
from perdure.core.turn import Turn


def hold(turn: Turn) -> None:
    """The Paused event is about to enter history: take back what is queued."""
    execution = turn.execution
    task = execution.workflow_task
    if task is not None:
        workflow_task_events.TABLE.next(workflow_task_events.State.SCHEDULED, workflow_task_events.Trigger.PAUSE)
        turn.dequeue(TaskKind.WORKFLOW, task.scheduled_event_id)
        event = HistoryEvent(event_type=enums.WORKFLOW_TASK_FAILED)
        attributes = event.workflow_task_failed_event_attributes
        attributes.scheduled_event_id = task.scheduled_event_id
        attributes.cause = enums.FAILED_PAUSE_REQUESTED
        attributes.identity = "history-service"
        turn.add(event)
    elif execution.facts.transient_task is not None:
        attempt = execution.facts.task_attempt
        workflow_task.drop(turn)
        execution.facts.task_attempt = attempt
    for event_id, attempt in execution.facts.attempts.items():
        if attempt.state == activity.State.SCHEDULED:
            turn.dequeue(TaskKind.ACTIVITY, event_id)


def release(turn: Turn) -> None:
    """The Unpaused event has entered history: what waited for a worker goes on the queue."""
    execution = turn.execution
    for event_id, attempt in execution.facts.attempts.items():
        if attempt.state == activity.State.SCHEDULED:
            attempt.scheduled_at_ns = turn.now_ns
            activity.queue(turn, execution.activities[event_id], attempt)
