"""What is told of an execution: the same whether it was asked for by name or found in a list."""

from __future__ import annotations

from temporalio.api.workflow.v1 import WorkflowExecutionInfo

from perdure.api.times import duration, later, set_timestamp
from perdure.core.execution import Execution


def fill_info(info: WorkflowExecutionInfo, execution: Execution) -> None:
    """What both tell."""
    key = execution.key
    info.execution.workflow_id = key.workflow_id
    info.execution.run_id = key.run_id
    info.type.name = execution.workflow_type
    first_task_at_ns = later(execution.started_at_ns, execution.first_task_backoff_ns)
    set_timestamp(info.start_time, execution.started_at_ns)
    set_timestamp(info.execution_time, first_task_at_ns)
    if execution.closed_at_ns is not None:
        set_timestamp(info.close_time, execution.closed_at_ns)
        info.execution_duration.CopyFrom(duration(execution.closed_at_ns - first_task_at_ns))
    info.status = execution.status  # pyright: ignore[reportAttributeAccessIssue] - the enum's number
    info.task_queue = execution.task_queue
    parent = execution.parent
    if parent is not None:
        info.parent_execution.workflow_id = parent.workflow_id
        info.parent_execution.run_id = parent.run_id
        info.root_execution.workflow_id = execution.root_workflow_id
        info.root_execution.run_id = execution.root_run_id
    else:
        info.root_execution.CopyFrom(info.execution)
    info.memo.SetInParent()
    for name, payload in execution.memo.items():
        info.memo.fields[name].ParseFromString(payload)
    info.search_attributes.SetInParent()
    for name, payload in execution.search_attributes.items():
        info.search_attributes.indexed_fields[name].ParseFromString(payload)


def fill_sizes(info: WorkflowExecutionInfo, execution: Execution) -> None:
    """How far its history has grown; a list tells it of closed ones alone."""
    info.history_length = execution.next_event_id - 1
    info.history_size_bytes = execution.history_bytes
    info.state_transition_count = execution.version


def listed_info(execution: Execution, parent_namespace_id: str) -> WorkflowExecutionInfo:
    """An execution as a list shows it."""
    info = WorkflowExecutionInfo()
    fill_info(info, execution)
    if execution.parent is not None:
        info.parent_namespace_id = parent_namespace_id
    if execution.closed_at_ns is not None:
        fill_sizes(info, execution)
    return info
