"""Timers, and the ways a run ends."""

from __future__ import annotations

from perdure.api import enums
from perdure.api.errors import StatusCode
from perdure.core import commands as law
from perdure.core.commit import Commit
from perdure.core.names import TaskKind
from tests.core import given
from tests.core.given import SECOND, World, after, in_first_task, names, refused, schedule, timer


def test_due_timers_fire_in_the_order_of_their_times() -> None:
    world = after(timer("late", 3), timer("early", 1), timer("middle", 2))
    world.now_ns += 5 * SECOND
    world.when(law.Wake())
    fired = [event.timer_fired_event_attributes.timer_id for event in world.history[-4:-1]]
    assert fired == ["early", "middle", "late"]
    assert world.tail(1) == ["WorkflowTaskScheduled"]


def test_the_stored_deadline_is_only_rewritten_when_the_true_one_is_earlier() -> None:
    world = after(timer("late", 100))
    assert world.run.wake_at_ns == world.now_ns + 10 * SECOND, "of the first workflow task: earlier than the true one"
    world.now_ns += 10 * SECOND
    commit = world.when(law.Wake())
    assert (commit.events, commit.wake_at_ns) == ([], world.now_ns + 90 * SECOND)
    assert not world.when(law.Wake()).changed


def test_an_early_or_duplicate_wake_up_changes_nothing() -> None:
    world = after(timer("t", 100))
    world.when(law.Wake())
    for _ in range(2):
        assert not world.when(law.Wake()).changed


def test_a_wake_up_of_a_closed_run_changes_nothing() -> None:
    world = after(given.complete())
    assert not world.when(law.Wake()).changed


def test_closing_forgets_everything_that_was_owed() -> None:
    world = after(schedule("1"), schedule("2"), timer())
    world.activity_task("1")
    assert len(world.rows) == 1
    world.terminate()
    assert world.rows == []
    assert world.run.wake_at_ns is None
    assert not world.run.in_flight


def test_work_that_a_later_command_undoes_is_never_handed_out() -> None:
    world, task = in_first_task()
    world.wait(TaskKind.ACTIVITY)
    commit: Commit = world.when(
        law.CompleteWorkflowTask(
            given.decode_token(task.token), given.RespondWorkflowTaskCompletedRequest(commands=[schedule()])
        ),
        law.Terminate(given.TerminateWorkflowExecutionRequest()),
    )
    assert commit.dispatches == []
    assert commit.add_tasks == commit.remove_tasks == []


def test_a_closed_run_refuses_termination_but_shrugs_at_cancellation() -> None:
    world = after(given.complete())
    rejected = refused(world.terminate)
    assert (rejected.code, rejected.message) == (StatusCode.NOT_FOUND, "workflow execution already completed")
    assert not world.when(law.RequestCancel(given.RequestCancelWorkflowExecutionRequest())).changed


def test_a_request_for_another_run_or_chain_is_not_found() -> None:
    world = after(timer())
    other = given.TerminateWorkflowExecutionRequest()
    other.workflow_execution.run_id = "another"
    chain = given.TerminateWorkflowExecutionRequest(first_execution_run_id="another")
    for request in (other, chain):
        assert refused(lambda request=request: world.ask(law.Terminate(request))).code == StatusCode.NOT_FOUND
    right = given.TerminateWorkflowExecutionRequest(first_execution_run_id="id-1")
    right.workflow_execution.run_id = "id-1"
    world.ask(law.Terminate(right))
    assert world.run.status == enums.TERMINATED


def test_termination_always_works() -> None:
    world, _ = in_first_task()
    world.cancel()
    world.terminate()
    assert world.tail(3) == ["WorkflowTaskFailed", "WorkflowExecutionCancelRequested", "WorkflowExecutionTerminated"]


def test_the_status_says_how_it_ended() -> None:
    for command, status in (
        (given.complete(), enums.COMPLETED),
        (given.fail(), enums.FAILED),
        (given.cancel(), enums.CANCELED),
    ):
        world = after(command)
        assert world.run.status == status
        assert world.run.closed_at_ns == world.now_ns


def test_a_refused_command_in_a_batch_leaves_the_others_alone() -> None:
    world = World()
    world.start()
    commit = world.when(
        law.StartWorkflow(given.start_request(request_id="other")),
        law.RequestCancel(given.RequestCancelWorkflowExecutionRequest()),
    )
    assert commit.replies[0].code == StatusCode.ALREADY_EXISTS
    assert names(commit.events) == ["WorkflowExecutionCancelRequested"]
