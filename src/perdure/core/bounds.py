"""The bounds of a run as a whole, enforced after every batch of commands: what grows for ever is ended.

A run that reaches one is terminated with a reason that names it, as Temporal does; nothing is lost
silently. Bounds of single commands and requests are checked where those are judged.
"""

from __future__ import annotations

from perdure.api import enums
from perdure.core import close, completion
from perdure.core.bad_command import HISTORY_TOO_LONG
from perdure.core.turn import Turn

ENGINE_IDENTITY = "history-service"
"""Who acts when the engine itself does; Temporal's name for it."""


def enforce(turn: Turn) -> None:
    """Terminate a run whose history is too long or too big, or its state; fail a task that too many events wait for."""
    execution = turn.execution
    if execution.closed_at_ns is not None:
        return
    limits = turn.limits
    if execution.next_event_id - 1 > limits.history_events:
        close.terminate(turn, HISTORY_TOO_LONG, None, ENGINE_IDENTITY)
    elif execution.history_bytes > limits.history_bytes:
        close.terminate(turn, "Workflow history size exceeds limit.", None, ENGINE_IDENTITY)
    elif execution.facts.state_bytes > limits.state_bytes:
        close.terminate(turn, "Workflow mutable state size exceeds limit.", None, ENGINE_IDENTITY)
    elif execution.facts.buffered and _buffer_is_full(turn):
        completion.end_failed(turn, enums.FAILED_FORCE_CLOSE_COMMAND, None, ENGINE_IDENTITY)


def _buffer_is_full(turn: Turn) -> bool:
    buffered = turn.execution.facts.buffered
    return len(buffered) > turn.limits.buffered_events or sum(map(len, buffered)) > turn.limits.buffered_bytes
