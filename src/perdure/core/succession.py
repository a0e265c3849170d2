"""How a run is followed by the next of its chain: continued as new by its own command, retried as a whole, or by cron.

The next run starts in the transaction that closes the one before: there is never none, never two.
"""

from __future__ import annotations

from temporalio.api.command.v1 import (
    CompleteWorkflowExecutionCommandAttributes,
    ContinueAsNewWorkflowExecutionCommandAttributes,
    FailWorkflowExecutionCommandAttributes,
)
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from perdure.api import backoff, enums
from perdure.api.failures import bounded
from perdure.api.times import NS_PER_SECOND, duration_ns, set_duration, set_timestamp
from perdure.core import close, cron, retry, start
from perdure.core.fold import blank
from perdure.core.names import ExecutionKey
from perdure.core.state import Execution
from perdure.core.turn import Turn, begin

RUN_MINIMUM_NS = NS_PER_SECOND
"""A run that continues as new sooner has its next one delayed, so that a chain cannot spin (as Temporal's)."""


def complete(turn: Turn, command: CompleteWorkflowExecutionCommandAttributes, completed_event_id: int) -> None:
    """The workflow has completed: close the run, and begin the next if there is a cron schedule."""
    backoff_ns = _cron_backoff_ns(turn)
    if backoff_ns is None:
        close.complete(turn, command, completed_event_id, "")
        return
    run_id, before = turn.context.new_id(), turn.execution.first_event
    close.complete(turn, command, completed_event_id, run_id)
    event = _begin_again(turn, run_id, before, backoff_ns)
    attributes = event.workflow_execution_started_event_attributes
    # The next run is told what this one returned, and not what failed before that.
    attributes.ClearField("continued_failure")
    attributes.last_completion_result.CopyFrom(command.result)
    _by_cron(turn, run_id, event)


def fail(turn: Turn, command: FailWorkflowExecutionCommandAttributes, completed_event_id: int) -> None:
    """The workflow failed: close the run, and try again if its retry policy says so."""
    verdict = _judge(turn, command.failure)
    # The closing event names the run that follows, so that is settled first.
    again = _again(turn, verdict)
    before = turn.execution.first_event
    close.fail(turn, command, completed_event_id, verdict.retry_state, again[0])
    _try_again(turn, again, before, command.failure)


def time_out(turn: Turn) -> None:
    """The run or execution time-out has passed: close the run, and try again if time and policy allow."""
    execution = turn.execution
    failure = Failure(message="workflow timeout", source="Server")
    failure.timeout_failure_info.timeout_type = enums.START_TO_CLOSE
    # The time of the whole execution is over: a next run would have none.
    if 0 < execution.execution_expires_at_ns <= turn.now_ns:
        verdict = backoff.Verdict(enums.RETRY_TIMEOUT)
    else:
        verdict = _judge(turn, failure)
    again = _again(turn, verdict)
    before = execution.first_event
    close.time_out(turn, verdict.retry_state, again[0])
    _try_again(turn, again, before, failure)


def _judge(turn: Turn, failure: Failure) -> backoff.Verdict:
    execution = turn.execution
    return backoff.judge(execution.retry, execution.attempt, failure, turn.now_ns, execution.execution_expires_at_ns)


def _cron_backoff_ns(turn: Turn) -> int | None:
    return cron.next_backoff_ns(turn.execution, turn.context.find_zone, turn.now_ns)


def _again(turn: Turn, verdict: backoff.Verdict) -> tuple[str, int, bool]:
    """(run id, back-off, whether by cron) of the run that follows a failed one; the id is "" when none does."""
    # Retries first; cron goes on when trying has ended.
    if verdict.retry_state == enums.RETRY_IN_PROGRESS:
        return turn.context.new_id(), verdict.backoff_ns, False
    backoff_ns = _cron_backoff_ns(turn)
    return ("", 0, False) if backoff_ns is None else (turn.context.new_id(), backoff_ns, True)


def _try_again(turn: Turn, again: tuple[str, int, bool], before: bytes, failure: Failure) -> None:
    run_id, backoff_ns, by_cron = again
    if not run_id:
        return
    event = _begin_again(turn, run_id, before, backoff_ns)
    attributes = event.workflow_execution_started_event_attributes
    attributes.continued_failure.CopyFrom(bounded(failure))
    if by_cron:
        _by_cron(turn, run_id, event)
    else:
        attributes.initiator = enums.INITIATOR_RETRY
        attributes.attempt += 1
        _follow(turn, run_id, event)


def _by_cron(turn: Turn, run_id: str, event: HistoryEvent) -> None:
    attributes = event.workflow_execution_started_event_attributes
    # Another time of the schedule is no further attempt at this one.
    attributes.initiator = enums.INITIATOR_CRON_SCHEDULE
    attributes.attempt = 1
    _follow(turn, run_id, event)


def _begin_again(turn: Turn, run_id: str, before: bytes, backoff_ns: int) -> HistoryEvent:
    """The next run begins as this one did."""
    event = HistoryEvent(event_type=enums.WORKFLOW_EXECUTION_STARTED)
    attributes = event.workflow_execution_started_event_attributes
    attributes.ParseFromString(before)
    attributes.ClearField("identity")
    attributes.original_execution_run_id = run_id
    attributes.continued_execution_run_id = turn.execution.key.run_id
    set_duration(attributes.first_workflow_task_backoff, backoff_ns)
    return event


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
    attributes.inherit_build_id = command.inherit_build_id
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
    # Never begun anew: it is what bounds a chain of runs.
    if execution.execution_timeout_ns:
        set_duration(attributes.workflow_execution_timeout, execution.execution_timeout_ns)
        set_timestamp(attributes.workflow_execution_expiration_time, execution.execution_expires_at_ns)
    for name in ("input", "last_completion_result", "header", "memo", "search_attributes"):
        if said.HasField(name):
            getattr(attributes, name).CopyFrom(getattr(said, name))
    if command.HasField("failure"):
        attributes.continued_failure.CopyFrom(bounded(command.failure))
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
    if execution.priority is not None:
        attributes.priority.MergeFromString(execution.priority)
        attributes.priority.SetInParent()
    return event


def _follow(turn: Turn, run_id: str, started: HistoryEvent) -> None:
    key = turn.execution.key
    following = begin(blank(ExecutionKey(key.namespace, key.workflow_id, run_id)), turn.context, 0, turn)
    following.commit.expected_current_run_id = key.run_id
    # Request ids are the chain's: a signal that is sent again must be known, whichever run got it.
    following.execution.facts.signal_requests = turn.execution.facts.signal_requests
    turn.execution.facts.signal_requests = {}
    turn.successor = following
    start.begin(following, started, "")
