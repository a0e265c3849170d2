"""Workers are known to be dead: an embedded engine restarted, or one of several nodes died, and its workers with it.

What they held is tried again at once instead of at its time-out. The lost attempt counts: an
activity that allows one attempt is never run twice. A workflow task has no effects, so however many
workers died with it, it is not taken for one that fails, and updates go on waiting for it. One that waits out
its own failures is tried at once too: whoever restarts has perhaps mended the code.

A node may be taken for dead that lives. Then its worker's answer comes too late: as after any time-out, the task is not
that worker's any more, and the answer is refused with NOT_FOUND. One attempt was wasted.
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
    task, home, living = execution.current_task, command.home, command.living
    task_home = execution.facts.task_home
    if (home and task_home != home) or task_home in living:
        pass  # whoever has the workflow task lives
    elif task is not None and task.started_event_id:
        completion.time_out(turn, lost=True)
    elif task is not None and task.sticky:
        completion.time_out_sticky(turn)
    elif execution.facts.task_not_before_ns and not home:
        workflow_task.queue_if_due(turn, at_once=True)
    elif execution.facts.sticky_queue:
        workflow_task.remember_sticky(execution, "", 0)
        turn.touch()
    closed = False
    for event_id, attempt in list(execution.facts.attempts.items()):
        if attempt.state == activity.State.STARTED and home in ("", attempt.home) and attempt.home not in living:
            pending = execution.activities[event_id]
            closed = activity.time_out(turn, pending, attempt, enums.START_TO_CLOSE, at_once=True) or closed
    if closed:
        workflow_task.schedule(turn)
