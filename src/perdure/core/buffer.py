"""Events that arrived while a worker held the workflow task, and how they enter history behind it."""

from __future__ import annotations

from perdure.api import enums
from perdure.api.history import decode_event
from perdure.core import activity, child, hold, timer
from perdure.core.turn import Turn

_LAST = child.CLOSING_EVENTS.union(activity.CLOSING_EVENTS)


def flush(turn: Turn) -> bool:
    """Append all buffered events, in order of arrival but closed activities and children last, as Temporal does.

    The workflow task must have ended. True when there were any.
    """
    facts = turn.execution.facts
    if not facts.buffered:
        return False
    waiting = [decode_event(data) for data in facts.buffered]
    facts.buffered = []
    turn.fired = None
    # First all that ends nothing. A Started event gets its id here, and the event that closes the same thing has to
    # name that.
    started_ids: dict[int, int] = {}
    for event in waiting:
        if event.event_type not in _LAST:
            # A paused run owes nobody a task (`Turn.enqueue`): what is owed is taken back before the fold makes it one,
            # and is owed again once the fold has ended that.
            if event.event_type == enums.WORKFLOW_EXECUTION_PAUSED:
                hold.hold(turn)
            event_id = turn.add_dated(event)
            if event.event_type == enums.ACTIVITY_TASK_STARTED:
                started_ids[event.activity_task_started_event_attributes.scheduled_event_id] = event_id
            elif event.event_type == enums.CHILD_WORKFLOW_EXECUTION_STARTED:
                started_ids[child.initiated_event_id_of(event)] = event_id
            elif event.event_type == enums.TIMER_FIRED:
                timer.recorded(turn.execution, event.timer_fired_event_attributes.timer_id)
            elif event.event_type == enums.WORKFLOW_EXECUTION_UNPAUSED:
                hold.release(turn)
    # An activity's Started event has waited with its closing one, or there is none (0). A child's may be long in
    # history: then the closing event names it already.
    for event in waiting:
        if event.event_type in activity.CLOSING_EVENTS:
            scheduled_id = activity.scheduled_event_id_of(event)
            activity.set_started_event_id(event, started_ids.get(scheduled_id, 0))
            turn.add_dated(event)
            activity.recorded(turn.execution, scheduled_id)
        elif event.event_type in child.CLOSING_EVENTS:
            started_id = started_ids.get(child.initiated_event_id_of(event))
            if started_id:
                child.set_started_event_id(event, started_id)
            turn.add_dated(event)
    # Both said what buffered events would come to. Now these are folded.
    if facts.starting or facts.settled:
        facts.starting = set()
        facts.settled = set()
    return True
