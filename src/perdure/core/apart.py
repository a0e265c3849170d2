"""What of a run's state stores keep beside its snapshot, because it is large and seldom changes.

The snapshot is written with every commit, so whatever is in it is written again with every signal. Heartbeat details
may have two megabytes for each activity, and so may what a run with a retry policy or a cron schedule was started
with. Such bytes are rows of their own, named by the event that they belong to: the activity's Scheduled event, or
event 1. `Facts.apart` says which there are, a commit's `parts` which of them it changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from perdure.core.state import FIRST_EVENT_ID, Attempt, Execution
from perdure.core.turn import Turn

APART_BYTES_MIN = 1024
"""What is smaller is cheaper to write again than to write beside."""
_LARGE_BYTES = 64 << 10
"""A snapshot from here on is looked through: an older perdure kept in it what is kept apart today."""


def set_details(turn: Turn, scheduled_event_id: int, attempt: Attempt, details: bytes) -> None:
    """Keep the details of a heartbeat (serialised `Payloads`; empty: there are none any more)."""
    before, attempt.heartbeat_details = attempt.heartbeat_details, details
    turn.execution.facts.state_bytes += len(details) - len(before)
    _keep(turn, scheduled_event_id, details)


def settle(turn: Turn) -> None:
    """Before a commit is stored: what is owed to the rows beside the snapshot."""
    execution = turn.execution
    facts = execution.facts
    if turn.commit.expected_version and not facts.apart and facts.state_bytes <= _LARGE_BYTES:
        return  # nearly always
    if not turn.commit.expected_version:  # it starts a run
        if execution.first_event:
            _keep(turn, FIRST_EVENT_ID, execution.first_event)
    elif facts.state_bytes > _LARGE_BYTES:
        _move_out(turn)
    if facts.apart:
        for event_id in [one for one in facts.apart if one != FIRST_EVENT_ID and one not in facts.attempts]:
            _keep(turn, event_id, b"")


def _move_out(turn: Turn) -> None:
    facts = turn.execution.facts
    for event_id, details in _candidates(turn.execution):
        if event_id not in facts.apart:
            _keep(turn, event_id, details)


def _candidates(execution: Execution) -> Iterable[tuple[int, bytes]]:
    yield FIRST_EVENT_ID, execution.first_event
    for event_id, attempt in execution.facts.attempts.items():
        yield event_id, attempt.heartbeat_details


def _keep(turn: Turn, event_id: int, data: bytes) -> None:
    apart = turn.execution.facts.apart
    if len(data) >= APART_BYTES_MIN:
        apart.add(event_id)
        turn.commit.parts[event_id] = data
    elif event_id in apart:
        apart.discard(event_id)
        turn.commit.parts[event_id] = b""
