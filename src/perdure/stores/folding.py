"""What is stored of an execution, against what its history says: the sentence that everything else rests on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

from temporalio.api.history.v1 import HistoryEvent

from perdure.core import invariants
from perdure.core.execution import Execution, blank, evolve
from perdure.core.names import ExecutionKey, Task

_FOLDED_FIELDS = tuple(f for f in Execution.__struct_fields__ if f not in ("facts", "version", "wake_at_ns"))
"""What history alone decides."""


def fold(key: ExecutionKey, events: Iterable[HistoryEvent]) -> Execution:
    """The state that these events alone lead to: what a store keeps, less what history does not say."""
    execution = blank(key)
    for event in events:
        evolve(execution, event)
    return execution


def differences(stored: Execution, folded: Execution) -> list[str]:
    """The fields of a stored state that are not what its history says; none in a store that is sound."""
    if not stored.last_event_ns:  # written before it was kept, and no event has come since
        folded.last_event_ns = 0
    return [name for name in _FOLDED_FIELDS if getattr(stored, name) != getattr(folded, name)]


def problems(stored: Execution, events: Collection[HistoryEvent], rows: Iterable[Task]) -> list[str]:
    """What is wrong with an execution, given its whole history and its task rows; nothing when it is sound."""
    key = stored.key
    found = [f"{name} is not what its history says" for name in differences(stored, fold(key, events))]
    there = {(task.queue.kind, task.scheduled_event_id) for task in rows}
    for check in (invariants.check, partial(invariants.check_rows, rows=there)):
        try:
            check(stored)
        except invariants.InvariantBroken as error:
            found.append(f"a law is broken: {error}")
    return found
