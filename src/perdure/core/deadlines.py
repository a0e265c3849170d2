"""The execution's one deadline, and what is done when it passes."""

from __future__ import annotations

from perdure.api.times import LONG_MAX
from perdure.core import activity, close, completion, start, succession, timer, workflow_task
from perdure.core.commands import Wake
from perdure.core.state import Execution
from perdure.core.turn import Turn


def wake(turn: Turn, command: Wake) -> None:
    """Do all that is due, then owe the next wake-up. Early, late and duplicate wake-ups find nothing to do."""
    execution = turn.execution
    if not execution.is_open:
        return
    # The end of the run settles everything else that may be due.
    run_deadline = close.run_deadline(execution)
    if run_deadline is not None and run_deadline <= turn.now_ns:
        succession.time_out(turn)
        return
    _workflow_task(turn)
    start.first_task_if_due(turn)
    # Whatever fired or closed is told by one workflow task.
    news = timer.fire_due(turn)
    news = _activities(turn) or news
    if news:
        workflow_task.schedule(turn)
    # In between the stored deadline is only ever made earlier (`Turn.lower`): looking at everything, and moving it on,
    # is done here, once it has passed.
    deadline = earliest(execution)
    if deadline != execution.wake_at_ns:
        execution.wake_at_ns = deadline
        turn.touch()


def _workflow_task(turn: Turn) -> None:
    execution = turn.execution
    task = execution.current_task
    deadline = workflow_task.next_deadline(execution)
    if task is None or deadline is None or deadline > turn.now_ns:
        return
    if task.started_event_id:
        completion.time_out(turn)
    elif task.sticky:
        completion.time_out_sticky(turn)
    else:
        workflow_task.queue_if_due(turn)


def _activities(turn: Turn) -> bool:
    """Time-outs and ended back-offs. True when an activity closed."""
    execution = turn.execution
    closed = False
    for event_id, attempt in list(execution.facts.attempts.items()):
        pending = execution.activities[event_id]
        timeout_type = activity.overdue(pending, attempt, turn.now_ns)
        if timeout_type is not None:
            closed = activity.time_out(turn, pending, attempt, timeout_type) or closed
        else:
            activity.queue_if_due(turn, pending, attempt)
    return closed


def earliest(execution: Execution) -> int | None:
    """The true earliest deadline: O(everything pending). None: nothing will happen by itself."""
    if not execution.is_open:
        return None
    candidates = [close.run_deadline(execution), workflow_task.next_deadline(execution), timer.next_deadline(execution)]
    if start.waits_for_first_task(execution):
        candidates.append(start.first_task_deadline(execution))
    activities = execution.activities
    for event_id, attempt in execution.facts.attempts.items():
        candidates.append(activity.next_deadline(activities[event_id], attempt))
    found = min((deadline for deadline in candidates if deadline is not None), default=None)
    return None if found is None else min(found, LONG_MAX)
