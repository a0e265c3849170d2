"""The wall clock was set: what is in hand is neither timed out by that nor made to wait.

Deadlines are instants of the wall clock, and must be, for they outlive every process. When the clock of the machine is
set (by an administrator, by NTP, by a virtual machine that is resumed), what was counted by the old time is moved by as
much: the time-outs of tasks, of attempts and of the run. So an attempt has the time that it was given.

A timer of the user's, a back-off and a start delay are moved with a clock that was set back: they never take longer
than they were asked to. Set forward, they come due by the new time, as after a night in which the machine was off.

An instant is of the old time when it lies before the first of the new time or, of a clock set back, in the future. All
that is moved is facts; what history says stays.
"""

from __future__ import annotations

from collections.abc import Callable

from perdure.core import commands, deadlines
from perdure.core.activity import State
from perdure.core.state import Attempt, Execution
from perdure.core.turn import Turn


def move(turn: Turn, command: commands.MoveClock) -> None:
    """Move what was counted by the old time, and owe the next wake-up by the new one."""
    execution = turn.execution
    if not execution.is_open:
        return
    by_ns, since_ns, now_ns = command.by_ns, command.since_ns, turn.now_ns

    def moved(at_ns: int) -> int:
        return by_ns if at_ns and (at_ns < since_ns or at_ns > now_ns) else 0

    facts = execution.facts
    facts.run_moved_ns += moved(execution.started_at_ns)
    task = execution.current_task
    if task is not None:
        since = task.started_at_ns or task.scheduled_at_ns
        before_ns = facts.task_moved[1] if facts.task_moved[0] == since else 0
        facts.task_moved = (since, before_ns + moved(since))
        if by_ns < 0 and facts.task_not_before_ns:
            facts.task_not_before_ns += moved(task.scheduled_at_ns)
    for event_id, attempt in facts.attempts.items():
        attempt.moved_ns += moved(execution.activities[event_id].scheduled_at_ns)
        _move_attempt(attempt, moved, is_back=by_ns < 0)
    if by_ns < 0:
        _move_timers(execution, by_ns, now_ns)
    turn.touch()
    execution.wake_at_ns = deadlines.earliest(execution)


def _move_attempt(attempt: Attempt, moved: Callable[[int], int], *, is_back: bool) -> None:
    if attempt.state == State.STARTED:
        attempt.started_at_ns += moved(attempt.started_at_ns)
        attempt.heartbeat_at_ns += moved(attempt.heartbeat_at_ns)
    elif attempt.state == State.SCHEDULED:
        attempt.scheduled_at_ns += moved(attempt.scheduled_at_ns)
    elif is_back:  # it backs off since the attempt before it ended
        attempt.scheduled_at_ns += moved(attempt.completed_at_ns)


def _move_timers(execution: Execution, by_ns: int, now_ns: int) -> None:
    """Timers that would have fired later than now by the old time: a timer begun since is due earlier."""
    before = execution.facts.timers_moved
    after: dict[int, int] = {}
    for timer in execution.timers.values():
        moved_ns = before.get(timer.started_event_id, 0)
        if timer.fire_at_ns + moved_ns > now_ns - by_ns:
            moved_ns += by_ns
        if moved_ns:
            after[timer.started_event_id] = moved_ns
    execution.facts.timers_moved = after
