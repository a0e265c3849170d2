"""The one fold: event by event, history becomes state, live and on rebuild alike.

Each entity's file registers how its events change `Execution`; nothing else writes those fields.
"""

from __future__ import annotations

from collections.abc import Callable

from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.api.times import timestamp_ns
from perdure.core.names import ExecutionKey
from perdure.core.state import Execution

Fold = Callable[[Execution, HistoryEvent], None]

_FOLDS: dict[int, Fold] = {}


class UnknownEvent(Exception):
    """History holds an event that this version has no fold for: it was written by a newer one."""


def folds(event_type: int) -> Callable[[Fold], Fold]:
    """Registers the fold of one event type."""

    def register(fold: Fold) -> Fold:
        assert event_type not in _FOLDS, f"event type {event_type} is folded twice"
        _FOLDS[event_type] = fold
        return fold

    return register


def evolve(execution: Execution, event: HistoryEvent) -> None:
    """Fold one event into the state: the only writer of what history says.

    Raises UnknownEvent for an event type without a fold.
    """
    evolve_measured(execution, event, event.ByteSize(), timestamp_ns(event.event_time))


def evolve_measured(execution: Execution, event: HistoryEvent, size: int, at_ns: int) -> None:
    """As `evolve`, by who knows the event's size when it is serialised, in bytes, and its time already."""
    try:
        fold = _FOLDS[event.event_type]
    except KeyError:
        unknown = f"Event {event.event_id} has type {event.event_type}, which this version cannot fold."
        raise UnknownEvent(unknown) from None
    fold(execution, event)
    if at_ns > execution.last_event_ns:
        execution.last_event_ns = at_ns
    execution.next_event_id = event.event_id + 1
    execution.history_bytes += size


def blank(key: ExecutionKey) -> Execution:
    """The state before the first event, to fold a history from."""
    return Execution(key, 0)


def _changes_nothing(execution: Execution, event: HistoryEvent) -> None:
    """Told to the workflow by history alone; the state needs nothing of it."""


for _event_type in (
    enums.WORKFLOW_EXECUTION_SIGNALED,
    enums.MARKER_RECORDED,
):
    folds(_event_type)(_changes_nothing)
