"""Every worker is known to be dead: an embedded engine restarted, and its workers died with it.

What they held is tried again at once instead of at its time-out. The lost attempt counts: an
activity that allows one attempt is never run twice. A workflow task has no effects, so however many
workers died with it, it is not taken for one that fails, and updates go on waiting for it. One that waits out
its own failures is tried at once too: whoever restarts has perhaps mended the code.
"""

from __future__ import annotations

from perdure.api import enums
from perdure.core import activity, completion, workflow_task
from perdure.core.commands import LoseWorkers
from perdure.core.turn import Turn


def lose_workers(turn: Turn, command: LoseWorkers) -> None:
    """Time out all that is in a worker's hands, or on a queue that only a dead worker serves."""
    execution = turn.execution
    if not execution.is_open:
        return
    task = execution.current_task
    if task is not None and task.started_event_id:
        completion.time_out(turn, lost=True)
    elif task is not None and task.sticky:
        completion.time_out_sticky(turn)
    elif execution.facts.task_not_before_ns:
        workflow_task.queue_if_due(turn, at_once=True)
    elif execution.facts.sticky_queue:
        workflow_task.remember_sticky(execution, "", 0)
        turn.touch()
    closed = False
    for event_id, attempt in list(execution.facts.attempts.items()):
        if attempt.state == activity.State.STARTED:
            pending = execution.activities[event_id]
            closed = activity.time_out(turn, pending, attempt, enums.START_TO_CLOSE, at_once=True) or closed
    if closed:
        workflow_task.schedule(turn)
