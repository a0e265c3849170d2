"""Reset: a new run that has everything up to a point of an earlier one, and goes on differently from there.

The point is a workflow task that is done anew. Who knows its event says `event_id=`; who knows what went wrong says
`step=`: the call of an activity, a child or a timer, found by its name; the task that asked for it is done anew, so
that the code asks again, or for something else if it was mended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType, ResetReapplyType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.sdk.choices import member_of
from perdure.sdk.client.calls import Reach
from perdure.sdk.declare.definitions import AnyActivity, AnyWorkflow, Definition
from perdure.sdk.options import count
from perdure.sdk.policies import Reapply

Step = str | AnyActivity | AnyWorkflow | type[Any]
"""A step's name, or what it calls."""

TIMER: Final = "timer"
"""The name of every timer, as a step."""

_SIGNAL = ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL
_UPDATE = ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE
_ALL = ResetReapplyType.RESET_REAPPLY_TYPE_ALL_ELIGIBLE
_EXCLUDED: Final[dict[str, Sequence[ResetReapplyExcludeType.ValueType]]] = {
    "all": (),
    "signals": (_UPDATE,),
    "updates": (_SIGNAL,),
    "none": (_SIGNAL, _UPDATE),
}


def request_of(
    reach: Reach, workflow_id: str, run_id: str, event_id: int, reason: str, reapply: Reapply | str
) -> service.ResetWorkflowExecutionRequest:
    """Raises ValueError for a `reapply` that there is not."""
    again = member_of(Reapply, reapply, "reapply")
    return service.ResetWorkflowExecutionRequest(
        namespace=reach.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        reason=reason,
        workflow_task_finish_event_id=event_id,
        request_id=reach.new_id(),
        identity=reach.identity,
        reset_reapply_type=_ALL,
        reset_reapply_exclude_types=_EXCLUDED[again],
    )


def check_place(event_id: int | None, step: Step | None) -> None:
    """Raises ValueError unless one of them says where."""
    if (event_id is None) is (step is None):
        raise ValueError("say where to reset to: event_id=... or step=..., one of them")
    if event_id is not None:
        count(event_id, "event_id")


def name_of(step: Any) -> str:
    """Of a step given as its name, or as the activity or workflow that it calls. Raises TypeError."""
    if isinstance(step, Definition):
        return step.name
    if isinstance(step, str):
        return step
    raise TypeError(f"a step is an activity, a workflow or a name, not {type(step).__name__}")


def task_before(events: Sequence[HistoryEvent], step: str, nth: int) -> int:
    """The event at which the workflow task that asked for a step was completed.

    Args:
        events: the run's whole history.
        step: the type of an activity (local ones too) or of a child, or "timer".
        nth: which of its calls: 1 is the first, -1 the last.

    Raises:
        ValueError: there is no such step, or there are not so many; says which there are.
    """
    found = [task for name, task in steps(events) if name == step]
    place = nth - 1 if nth > 0 else nth
    if nth and -len(found) <= place < len(found):
        return found[place]
    if not found:
        counts = Counter(name for name, _ in steps(events))
        known = ", ".join(f"{name} ({count})" for name, count in counts.items()) or "none"
        raise ValueError(f"the run has no step {step!r}; its steps are: {known}")
    raise ValueError(f"the run has {len(found)} of the step {step!r}: nth is 1 to {len(found)}, or -1 for the last")


def steps(events: Sequence[HistoryEvent]) -> Iterator[tuple[str, int]]:
    """Each call, by name, with the WorkflowTaskCompleted of the task that asked for it."""
    local: set[str] = set()
    for event in events:
        look = _LOOKS.get(event.event_type)
        if look is None:
            continue
        found = look(event, local)
        if found is not None:
            yield found


def _activity(event: HistoryEvent, _local: set[str]) -> tuple[str, int]:
    attributes = event.activity_task_scheduled_event_attributes
    return attributes.activity_type.name, attributes.workflow_task_completed_event_id


def _timer(event: HistoryEvent, _local: set[str]) -> tuple[str, int]:
    return TIMER, event.timer_started_event_attributes.workflow_task_completed_event_id


def _child(event: HistoryEvent, _local: set[str]) -> tuple[str, int]:
    attributes = event.start_child_workflow_execution_initiated_event_attributes
    return attributes.workflow_type.name, attributes.workflow_task_completed_event_id


class _LocalData(msgspec.Struct):
    """What is needed of a local activity's marker."""

    activity_id: str
    activity_type: str


def _marker(event: HistoryEvent, local: set[str]) -> tuple[str, int] | None:
    """One that backed off durably has several markers, and is one call."""
    attributes = event.marker_recorded_event_attributes
    if attributes.marker_name != "core_local_activity" or "data" not in attributes.details:
        return None
    data = msgspec.json.decode(attributes.details["data"].payloads[0].data, type=_LocalData)
    if data.activity_id in local:
        return None
    local.add(data.activity_id)
    return data.activity_type, attributes.workflow_task_completed_event_id


_LOOKS: Final[dict[EventType.ValueType, Callable[[HistoryEvent, set[str]], tuple[str, int] | None]]] = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: _activity,
    EventType.EVENT_TYPE_TIMER_STARTED: _timer,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: _child,
    EventType.EVENT_TYPE_MARKER_RECORDED: _marker,
}
