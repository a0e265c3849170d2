"""Starting runs: policies, request ids, time-outs, delays, refusals."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.errordetails.v1 import NotFoundFailure, WorkflowExecutionAlreadyStartedFailure
from temporalio.api.taskqueue.v1 import TaskQueue

from perdure.api import enums
from perdure.api.errors import StatusCode
from perdure.core import commands as law
from perdure.core.limits import Limits
from perdure.core.names import TaskKind
from perdure.core.replies import Started
from tests.core import given
from tests.core.given import SECOND, World, after, in_first_task, names, payloads, refused, schedule, start_request


def test_a_start_writes_started_and_owes_the_first_task() -> None:
    world = World()
    commit = world.when(law.StartWorkflow(start_request()))
    assert names(commit.events) == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]
    assert commit.starts_run
    assert commit.expected_current_run_id is None
    assert commit.replies == [Started("id-1", True, enums.RUNNING, "id-1")]
    assert [row.queue.kind for row in commit.add_tasks] == [TaskKind.WORKFLOW]
    assert commit.wake_at_ns is None


def test_a_waiting_poller_gets_the_first_task_in_the_same_commit() -> None:
    world = World()
    world.wait(TaskKind.WORKFLOW)
    commit = world.when(law.StartWorkflow(start_request()))
    assert names(commit.events)[1:] == ["WorkflowTaskScheduled", "WorkflowTaskStarted"]
    assert commit.add_tasks == []
    assert len(commit.dispatches) == 1
    assert commit.wake_at_ns == world.now_ns + 10 * SECOND


def test_the_same_request_id_is_answered_with_the_run_there_is() -> None:
    world = World()
    world.start()
    commit = world.when(law.StartWorkflow(start_request()))
    assert not commit.changed
    assert commit.replies == [Started("id-1", True, enums.RUNNING, "id-1")]


def test_the_same_request_id_is_answered_with_the_run_even_when_it_is_closed() -> None:
    world = after(given.complete())
    assert world.start() == Started("id-1", True, enums.COMPLETED, "id-1")


def test_an_open_run_refuses_another_start_and_names_itself() -> None:
    world = World()
    world.start()
    rejected = refused(lambda: world.start(request_id="other"))
    assert rejected.code == StatusCode.ALREADY_EXISTS
    assert rejected.message == "Workflow execution is already running. WorkflowId: order-1001, RunId: id-1."
    assert rejected.detail == WorkflowExecutionAlreadyStartedFailure(
        start_request_id="request-1", run_id="id-1", first_execution_run_id="id-1"
    )


def test_use_existing_answers_with_the_open_run() -> None:
    world = World()
    world.start()
    reply = world.start(request_id="other", workflow_id_conflict_policy=enums.CONFLICT_USE_EXISTING)
    assert reply == Started("id-1", False, enums.RUNNING, "id-1")


@pytest.mark.parametrize(
    "fields",
    [
        {"workflow_id_conflict_policy": enums.CONFLICT_TERMINATE_EXISTING},
        {"workflow_id_reuse_policy": enums.REUSE_TERMINATE_IF_RUNNING},
    ],
)
def test_terminate_existing_ends_the_old_run_and_starts_the_new_one_in_one_transaction(fields: dict[str, Any]) -> None:
    world = World()
    world.start()
    commit = world.when(law.StartWorkflow(start_request(request_id="other", **fields)))
    assert names(commit.events) == ["WorkflowExecutionTerminated"]
    assert commit.next_run is not None
    assert commit.next_run.starts_run
    assert commit.next_run.expected_current_run_id == "id-1"
    assert names(commit.next_run.events) == ["WorkflowExecutionStarted", "WorkflowTaskScheduled"]
    assert commit.replies == [Started(world.run.key.run_id, True, enums.RUNNING, world.run.first_run_id)]


@pytest.mark.parametrize(
    ("how_it_ended", "policy", "starts"),
    [
        (given.complete(), enums.REUSE_UNSPECIFIED, True),
        (given.complete(), enums.REUSE_ALLOW_DUPLICATE, True),
        (given.complete(), enums.REUSE_ALLOW_DUPLICATE_FAILED_ONLY, False),
        (given.complete(), enums.REUSE_REJECT_DUPLICATE, False),
        (given.complete(), enums.REUSE_TERMINATE_IF_RUNNING, True),
        (given.fail(), enums.REUSE_ALLOW_DUPLICATE, True),
        (given.fail(), enums.REUSE_ALLOW_DUPLICATE_FAILED_ONLY, True),
        (given.fail(), enums.REUSE_REJECT_DUPLICATE, False),
        (given.fail(), enums.REUSE_TERMINATE_IF_RUNNING, True),
        (given.cancel(), enums.REUSE_ALLOW_DUPLICATE_FAILED_ONLY, True),
    ],
)
def test_a_closed_run_is_followed_as_the_reuse_policy_says(how_it_ended: Any, policy: Any, starts: bool) -> None:
    world = after(how_it_ended)
    request = law.StartWorkflow(start_request(request_id="other", workflow_id_reuse_policy=policy))
    commit = world.when(request)
    if starts:
        assert commit.starts_run
        assert commit.expected_current_run_id == "id-1"
        assert names(commit.events)[0] == "WorkflowExecutionStarted"
    else:
        assert not commit.changed
        assert commit.replies[0].code == StatusCode.ALREADY_EXISTS
        assert "Workflow Id reuse policy: " in commit.replies[0].message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"workflow_id": ""}, "WorkflowId is not set on request."),
        ({"workflow_id": "x" * 1001}, r"WorkflowId exceeds maximum allowed length \(1001/1000\)"),
        ({"request_id": "x" * 1001}, "RequestId length exceeds limit."),
        ({"workflow_run_timeout": -1.0}, "An invalid WorkflowRunTimeoutSeconds is set on request. cause: negative"),
        ({"workflow_start_delay": -1.0}, "An invalid WorkflowStartDelaySeconds is set on request. cause: negative"),
        ({"retry_policy": given.retry(coefficient=0.5)}, "BackoffCoefficient cannot be less than 1"),
        ({"input": payloads("x" * (2 << 20))}, "Blob data size exceeds limit."),
        ({"workflow_id_reuse_policy": 4, "workflow_id_conflict_policy": 1}, "cannot be used together"),
        ({"workflow_id_reuse_policy": 3, "workflow_id_conflict_policy": 3}, "cannot be used together"),
        ({"workflow_id_reuse_policy": 77}, "unknown WorkflowIdReusePolicy: 77"),
        ({"workflow_id_conflict_policy": 77}, "unknown WorkflowIdConflictPolicy: 77"),
    ],
)
def test_a_bad_request_is_refused_before_anything_exists(fields: dict[str, Any], message: str) -> None:
    world = World()
    commit = world.when(law.StartWorkflow(start_request(**fields)))
    assert commit.execution is None
    assert not commit.changed
    rejected = commit.replies[0]
    assert rejected.code == StatusCode.INVALID_ARGUMENT
    with pytest.raises(Exception, match=message):
        raise rejected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("workflow_type", "", "WorkflowType is not set on request."),
        ("workflow_type", "x" * 1001, "WorkflowType length exceeds limit."),
        ("task_queue", "", "missing task queue name"),
        ("task_queue", "x" * 1001, "taskQueue length exceeds limit"),
    ],
)
def test_names_are_needed_and_bounded(name: str, value: str, message: str) -> None:
    request = start_request()
    getattr(request, name).name = value
    commit = World().when(law.StartWorkflow(request))
    assert commit.replies[0].message == message


def test_what_is_still_to_come_is_said_and_not_ignored() -> None:
    request = start_request()
    request.completion_callbacks.add()
    rejected = refused(lambda: World().ask(law.StartWorkflow(request)))
    assert rejected.code == StatusCode.UNIMPLEMENTED


def test_a_command_for_a_workflow_that_never_was_is_not_found() -> None:
    commit = World().when(law.Wake(), law.LoseWorkers())
    assert [reply.code for reply in commit.replies] == [StatusCode.NOT_FOUND] * 2
    assert commit.replies[0].detail == NotFoundFailure()


def test_the_workflow_task_time_out_is_filled_in_and_bounded() -> None:
    world = World()
    world.start(workflow_task_timeout=1000.0)
    assert world.run.task_timeout_ns == 120 * SECOND
    world = World(Limits(task_timeout_ns=7 * SECOND))
    world.start()
    assert world.run.task_timeout_ns == 7 * SECOND


def test_the_run_time_out_counts_from_the_end_of_the_start_delay() -> None:
    world = World()
    world.start(workflow_start_delay=5.0, workflow_run_timeout=10.0)
    world.elapse(14)
    assert world.run.is_open
    world.elapse(1)
    assert world.run.status == enums.TIMED_OUT


def test_a_run_is_followed_by_its_retry_in_one_transaction() -> None:
    world, task = in_first_task(retry_policy=given.retry(initial=5))
    request = given.RespondWorkflowTaskCompletedRequest(commands=[schedule("1"), given.fail()])
    commit = world.when(law.CompleteWorkflowTask(given.decode_token(task.token), request))
    following = commit.next_run
    assert following is not None
    assert commit.add_tasks == []
    assert (following.starts_run, following.expected_current_run_id) == (True, "id-1")
    assert names(following.events) == ["WorkflowExecutionStarted"]
    assert following.wake_at_ns == world.now_ns + 5 * SECOND
    started = following.events[0].workflow_execution_started_event_attributes
    assert (started.attempt, started.input, started.first_execution_run_id) == (2, payloads('"order"'), "id-1")
    world.elapse(5)
    assert world.workflow_task().key.run_id == world.run.key.run_id != "id-1"


def test_a_chain_that_continues_at_once_is_slowed_down_and_one_that_ran_is_not() -> None:
    world, task = in_first_task()
    world.complete_task(task, given.continue_as_new())
    assert world.run.first_task_backoff_ns == SECOND
    world.elapse(1)
    task = world.workflow_task()
    world.elapse(5)
    world.complete_task(task, given.continue_as_new(backoff_start_interval=3.0))
    assert world.run.first_task_backoff_ns == 3 * SECOND
    world.elapse(3)
    task = world.workflow_task()
    world.elapse(5)
    world.complete_task(task, given.continue_as_new())
    assert (world.run.first_task_backoff_ns, len(world.rows)) == (0, 1)


def test_an_answer_to_the_run_before_does_not_reach_the_next() -> None:
    world = after(schedule(), given.timer())
    activity = world.activity_task()
    world.elapse(1)
    world.complete_task(world.workflow_task(), given.continue_as_new())
    assert refused(lambda: world.complete_activity(activity)).code == StatusCode.NOT_FOUND


def test_a_continuation_that_makes_no_sense_fails_the_task() -> None:
    for fields in (
        {"workflow_run_timeout": -1.0},
        {"retry_policy": given.retry(coefficient=0.5)},
        {"task_queue": TaskQueue(name="x" * 1001)},
    ):
        world, task = in_first_task()
        rejected = refused(
            lambda world=world, task=task, fields=fields: world.complete_task(task, given.continue_as_new(**fields))
        )
        assert rejected.message.startswith("BadContinueAsNewAttributes: ")


def test_a_cancellation_during_the_start_delay_waits_for_its_end() -> None:
    world = World()
    world.start(workflow_start_delay=5.0)
    world.cancel()
    assert world.rows == []
    world.elapse(5)
    assert len(world.rows) == 1


def test_many_commands_before_and_after_a_start_in_one_batch() -> None:
    """A run closed in this very batch is followed by the next, in one transaction; later commands meet the new run."""
    world = after(schedule())
    terminate = given.TerminateWorkflowExecutionRequest(reason="enough")
    cancel = given.RequestCancelWorkflowExecutionRequest(reason="enough")
    commit = world.when(
        law.Terminate(terminate), law.StartWorkflow(start_request(request_id="other")), law.RequestCancel(cancel)
    )
    assert names(commit.events) == ["WorkflowExecutionTerminated"]
    assert commit.next_run is not None
    assert names(commit.next_run.events) == [
        "WorkflowExecutionStarted",
        "WorkflowTaskScheduled",
        "WorkflowExecutionCancelRequested",
    ]
    assert commit.next_run.expected_current_run_id == "id-1" or commit.key.run_id == "id-1"
    assert len(commit.replies) == 3
