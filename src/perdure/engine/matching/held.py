"""Whether a task that was started, but reached no worker, is still the one that is owed."""

from __future__ import annotations

from perdure.core.execution import Execution
from perdure.core.started import StartedTask, StartedWorkflowTask
from perdure.core.state import AttemptState


def is_held(task: StartedTask, execution: Execution | None) -> bool:
    """False once it timed out, was replaced by a later attempt, or the run closed."""
    if execution is None or execution.key != task.key or execution.closed_at_ns is not None:
        return False
    if isinstance(task, StartedWorkflowTask):
        current = execution.current_task
        return (
            current is not None
            and current.started_event_id == task.started_event_id
            and current.attempt == task.attempt
        )
    attempt = execution.facts.attempts.get(task.scheduled_event_id)
    return attempt is not None and attempt.state == AttemptState.STARTED and attempt.attempt == task.attempt
