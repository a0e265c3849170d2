"""How a run is followed by the next of its chain: continued as new by its own command, or retried as a whole.

The next run starts in the transaction that closes the one before: there is never none, never two.
"""

from __future__ import annotations

from temporalio.api.command.v1 import (
    ContinueAsNewWorkflowExecutionCommandAttributes,
    FailWorkflowExecutionCommandAttributes,
)
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.api.times import NS_PER_SECOND, duration_ns, set_duration, set_timestamp
from perdure.core import close, retry, start
from perdure.core.commit import ExecutionKey
from perdure.core.fold import blank
from perdure.core.state import Execution
from perdure.core.turn import Turn

RUN_MINIMUM_NS = NS_PER_SECOND
"""A run that continues as new sooner has its next one delayed, so that a chain cannot spin (as Temporal's)."""


def fail(turn: Turn, command: FailWorkflowExecutionCommandAttributes, completed_event_id: int) -> None:
    """The workflow failed: close the run, and try again if its retry policy says so."""
    verdict = _judge(turn, command.failure)
    run_id = _new_run_id(turn, verdict)
    before = turn.execution.first_event
    close.fail(turn, command, completed_event_id, verdict.retry_state, run_id)
    if run_id:
        _retry(turn, run_id, before, command.failure, verdict.backoff_ns)


def time_out(turn: Turn) -> None:
    """The run or execution time-out has passed: close the run, and try again if time and policy allow."""
    execution = turn.execution
    failure = Failure(message="workflow timeout", source="Server")
    failure.timeout_failure_info.timeout_type = enums.START_TO_CLOSE
    if 0 < execution.execution_expires_at_ns <= turn.now_ns:
        verdict = retry.Verdict(enums.RETRY_TIMEOUT)
    else:
        verdict = _judge(turn, failure)
    run_id = _new_run_id(turn, verdict)
    before = execution.first_event
    close.time_out(turn, verdict.retry_state, run_id)
    if run_id:
        _retry(turn, run_id, before, failure, verdict.backoff_ns)


def _judge(turn: Turn, failure: Failure) -> retry.Verdict:
    execution = turn.execution
    return retry.judge(execution.retry, execution.attempt, failure, turn.now_ns, execution.execution_expires_at_ns)


def _new_run_id(turn: Turn, verdict: retry.Verdict) -> str:
    return turn.context.new_id() if verdict.retry_state == enums.RETRY_IN_PROGRESS else ""


def _retry(turn: Turn, run_id: str, before: bytes, failure: Failure, backoff_ns: int) -> None:
    """The next run begins as this one did, one attempt later."""
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_STARTED)
    attributes = event.workflow_execution_started_event_attributes
    attributes.ParseFromString(before)
    attributes.ClearField("identity")
    attributes.original_execution_run_id = run_id
    attributes.continued_execution_run_id = turn.execution.key.run_id
    attributes.initiator = enums.INITIATOR_RETRY
    attributes.continued_failure.CopyFrom(failure)
    attributes.attempt += 1
    set_duration(attributes.first_workflow_task_backoff, backoff_ns)
    _follow(turn, run_id, event)


def continue_as_new(
    turn: Turn, command: ContinueAsNewWorkflowExecutionCommandAttributes, completed_event_id: int
) -> None:
    """Close the run with what the next begins with, and begin it."""
    execution = turn.execution
    run_id = turn.context.new_id()
    closing = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_CONTINUED_AS_NEW)
    attributes = closing.workflow_execution_continued_as_new_event_attributes
    attributes.new_execution_run_id = run_id
    attributes.workflow_type.name = command.workflow_type.name or execution.workflow_type
    attributes.task_queue.name = command.task_queue.name or execution.task_queue
    attributes.task_queue.kind = enums.QUEUE_NORMAL
    run_ns = duration_ns(command.workflow_run_timeout) or execution.run_timeout_ns
    task_ns = duration_ns(command.workflow_task_timeout) or execution.task_timeout_ns
    set_duration(attributes.workflow_run_timeout, run_ns)
    set_duration(attributes.workflow_task_timeout, start.bounded_task_timeout_ns(turn.limits, task_ns, run_ns))
    attributes.workflow_task_completed_event_id = completed_event_id
    if command.HasField("backoff_start_interval"):
        attributes.backoff_start_interval.CopyFrom(command.backoff_start_interval)
    for name in ("input", "failure", "last_completion_result", "header", "memo", "search_attributes"):
        if command.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(command, name))
    attributes.initiator = command.initiator
    started = _continued_event(execution, command, closing, run_id)
    set_duration(
        started.workflow_execution_started_event_attributes.first_workflow_task_backoff, _delay_ns(turn, command)
    )
    close.continue_as_new(turn, closing)
    _follow(turn, run_id, started)


def _delay_ns(turn: Turn, command: ContinueAsNewWorkflowExecutionCommandAttributes) -> int:
    execution = turn.execution
    lived_ns = turn.now_ns - start.first_task_deadline(execution)
    return max(duration_ns(command.backoff_start_interval), RUN_MINIMUM_NS - lived_ns, 0)


def _continued_event(
    execution: Execution,
    command: ContinueAsNewWorkflowExecutionCommandAttributes,
    closing: HistoryEvent,
    run_id: str,
) -> HistoryEvent:
    """WorkflowExecutionStarted of the next run, from what the closing event of this one says."""
    said = closing.workflow_execution_continued_as_new_event_attributes
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_STARTED)
    attributes = event.workflow_execution_started_event_attributes
    attributes.workflow_type.CopyFrom(said.workflow_type)
    attributes.task_queue.CopyFrom(said.task_queue)
    attributes.workflow_run_timeout.CopyFrom(said.workflow_run_timeout)
    attributes.workflow_task_timeout.CopyFrom(said.workflow_task_timeout)
    if execution.execution_timeout_ns:
        set_duration(attributes.workflow_execution_timeout, execution.execution_timeout_ns)
        set_timestamp(attributes.workflow_execution_expiration_time, execution.execution_expires_at_ns)
    for name in ("input", "last_completion_result", "header", "memo", "search_attributes"):
        if said.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(said, name))
    if command.HasField("failure"):
        attributes.continued_failure.CopyFrom(command.failure)
    if command.HasField("retry_policy"):
        attributes.retry_policy.CopyFrom(retry.filled(command.retry_policy))
    attributes.original_execution_run_id = run_id
    attributes.first_execution_run_id = execution.first_run_id
    attributes.continued_execution_run_id = execution.key.run_id
    parent = execution.parent
    if parent is not None:
        attributes.parent_workflow_namespace = parent.namespace
        attributes.parent_workflow_execution.workflow_id = parent.workflow_id
        attributes.parent_workflow_execution.run_id = parent.run_id
        attributes.parent_initiated_event_id = parent.event_id
        attributes.root_workflow_execution.workflow_id = execution.root_workflow_id
        attributes.root_workflow_execution.run_id = execution.root_run_id
    attributes.initiator = command.initiator or enums.INITIATOR_WORKFLOW
    attributes.workflow_id = execution.key.workflow_id
    attributes.attempt = 1
    return event


def _follow(turn: Turn, run_id: str, started: HistoryEvent) -> None:
    key = turn.execution.key
    following = Turn(blank(ExecutionKey(key.namespace, key.workflow_id, run_id)), turn.context, 0)
    following.commit.expected_current_run_id = key.run_id
    following.execution.facts.signal_requests = turn.execution.facts.signal_requests
    turn.successor = following
    start.begin(following, started, "")
