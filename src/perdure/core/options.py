"""Options of a run that change while it goes: its priority, the version it is held to, the requests attached to it.

An event says what holds now, whole: a worker may ignore it, and no workflow task is owed for it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import Priority
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.core import workflow_task
from perdure.core.commands import UpdateOptions
from perdure.core.fold import folds
from perdure.core.refusals import invalid, workflow_completed, workflow_not_found
from perdure.core.state import Execution
from perdure.core.turn import Turn
from perdure.core.workflow_task_events import add_or_buffer

_PATHS = frozenset(
    {
        "priority",
        "priority.fairness_key",
        "priority.fairness_weight",
        "priority.priority_key",
        "versioning_override",
    }
)


def update(turn: Turn, command: UpdateOptions) -> WorkflowExecutionOptions:
    """Change what the mask names; reply: what holds then. An update that changes nothing leaves no event.

    Raises Rejected NOT_FOUND, INVALID_ARGUMENT, FAILED_PRECONDITION for a version that nobody has deployed.
    """
    request = command.request
    execution = turn.execution
    if request.workflow_execution.run_id not in ("", execution.key.run_id):
        raise workflow_not_found()
    if not execution.is_open:
        raise workflow_completed()
    return change(turn, request.workflow_execution_options, request.update_mask, request.identity)


def change(turn: Turn, changes: WorkflowExecutionOptions, mask: FieldMask, identity: str) -> WorkflowExecutionOptions:
    """As `update`, of an open run."""
    execution = turn.execution
    before = standing(execution)
    after = WorkflowExecutionOptions()
    after.CopyFrom(before)
    _merge(after, changes, mask)
    if after.versioning_override.HasField("pinned"):
        version = after.versioning_override.pinned.version
        raise Rejected(
            StatusCode.FAILED_PRECONDITION,
            f"Pinned version '{version.deployment_name}:{version.build_id}' is not present in task queue "
            f"'{execution.task_queue}' of type 'Workflow'",
        )
    if after == before:
        return after
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_OPTIONS_UPDATED, worker_may_ignore=True)
    attributes = event.workflow_execution_options_updated_event_attributes
    attributes.identity = identity
    if after.HasField("versioning_override"):
        attributes.versioning_override.CopyFrom(after.versioning_override)
    else:
        attributes.unset_versioning_override = True
    attributes.priority.CopyFrom(after.priority)
    add_or_buffer(turn, event)
    if after.versioning_override != before.versioning_override:
        workflow_task.remember_sticky(execution, "", 0)  # the worker that keeps it may not be of that version
    return after


def standing(execution: Execution) -> WorkflowExecutionOptions:
    """What holds now."""
    options = WorkflowExecutionOptions(priority=Priority.FromString(execution.priority or b""))
    if execution.versioning_override is not None:
        options.versioning_override.ParseFromString(execution.versioning_override)
    return options


def _merge(into: WorkflowExecutionOptions, changes: WorkflowExecutionOptions, mask: FieldMask) -> None:
    target: Any
    source: Any
    for path in mask.paths:
        if path not in _PATHS:
            name = WorkflowExecutionOptions.DESCRIPTOR.full_name
            raise invalid(f'error parsing UpdateMask: proto: invalid path "{path}" for message "{name}"')
        target, source = into, changes
        *parents, field = path.split(".")
        for parent in parents:
            target, source = getattr(target, parent), getattr(source, parent)
        if target.DESCRIPTOR.fields_by_name[field].message_type is None:
            setattr(target, field, getattr(source, field))
        elif source.HasField(field):
            getattr(target, field).CopyFrom(getattr(source, field))
        else:
            target.ClearField(field)


def attaches(request: StartWorkflowExecutionRequest) -> bool:
    """Whether a start that finds the workflow running wants to be known to it."""
    options = request.on_conflict_options
    return options.attach_request_id or options.attach_links or options.attach_completion_callbacks


def attach(turn: Turn, request: StartWorkflowExecutionRequest) -> None:
    """Make a start known to the run that it found. The same request again changes nothing."""
    wanted = request.on_conflict_options
    if request.request_id in turn.execution.attached:
        return
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_OPTIONS_UPDATED, worker_may_ignore=True)
    attributes = event.workflow_execution_options_updated_event_attributes
    if wanted.attach_request_id:
        attributes.attached_request_id = request.request_id
    if wanted.attach_links:
        event.links.extend(request.links)
    add_or_buffer(turn, event)


@folds(enums.WORKFLOW_EXECUTION_OPTIONS_UPDATED)
def _updated(execution: Execution, event: HistoryEvent) -> None:
    attributes = event.workflow_execution_options_updated_event_attributes
    if attributes.HasField("versioning_override"):
        execution.versioning_override = attributes.versioning_override.SerializeToString()
    elif attributes.unset_versioning_override:
        execution.versioning_override = None
    if attributes.HasField("priority"):
        execution.priority = attributes.priority.SerializeToString()
    if attributes.attached_request_id:
        execution.attached[attributes.attached_request_id] = event.event_id


def describe(execution: Execution) -> VersioningOverride | None:
    """The version that the run is held to, in both ways in which the API says it."""
    if execution.versioning_override is None:
        return None
    found = VersioningOverride.FromString(execution.versioning_override)
    if found.auto_upgrade:
        found.behavior = enums.VERSIONING_AUTO_UPGRADE
    return found
