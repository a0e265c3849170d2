"""What is owed to workers once commands are decided, and what becomes of it when it is said who waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import RespondWorkflowTaskCompletedRequest

from perdure.core import commands as law
from perdure.core.commit import Commit
from perdure.core.execution import Decision, decide
from perdure.core.names import ExecutionKey, TaskKind
from perdure.core.started import StartedActivityTask
from perdure.core.tokens import decode_token
from tests.core import given
from tests.core.given import WORKER, Waiting, World, in_first_task, names, schedule


def two_activities() -> tuple[World, Decision]:
    """A workflow task came back with two."""
    world, task = in_first_task()
    request = RespondWorkflowTaskCompletedRequest(identity=WORKER, commands=[schedule("1"), schedule("2")])
    command = law.CompleteWorkflowTask(decode_token(task.token), request)
    return world, decide(world.run, [command], world.context())


def kinds(decision: Decision) -> list[TaskKind]:
    return [task.queue.kind for task in decision.queued]


def test_a_decision_says_what_is_owed_in_order() -> None:
    world, decision = two_activities()
    assert kinds(decision) == [TaskKind.ACTIVITY, TaskKind.ACTIVITY]
    assert [task.scheduled_event_id for task in decision.queued] == [5, 6]
    assert world.run.facts.attempts[5].attempt == 1


def test_those_who_wait_get_their_tasks_and_the_rest_becomes_rows() -> None:
    poller = Waiting("first")
    for pollers, given_out, rows in (([poller], 5, [6]), ([None, poller], 6, [5])):
        commit = two_activities()[1].settle(pollers)
        [dispatch] = commit.dispatches
        assert dispatch.poller is poller
        assert isinstance(dispatch.task, StartedActivityTask)
        assert dispatch.task.scheduled_event_id == given_out
        assert [row.scheduled_event_id for row in commit.add_tasks] == rows


def test_without_anybody_who_waits_everything_becomes_a_row() -> None:
    commit = two_activities()[1].settle()
    assert commit.dispatches == []
    assert [row.scheduled_event_id for row in commit.add_tasks] == [5, 6]
    assert commit.execution is not None
    assert commit.execution.version == commit.expected_version + 1


def test_what_a_later_command_undoes_is_not_owed() -> None:
    world = World()
    world.start()
    cancel = law.RequestCancel(given.RequestCancelWorkflowExecutionRequest())
    terminate = law.Terminate(given.TerminateWorkflowExecutionRequest())
    world.complete_task(world.workflow_task())
    assert kinds(decide(world.run, [cancel], world.context())) == [TaskKind.WORKFLOW]
    world, task = in_first_task()
    world.complete_task(task)
    decision = decide(world.run, [cancel, terminate], world.context())
    assert decision.queued == []
    commit = decision.settle()
    assert "WorkflowExecutionTerminated" in names(commit.events)
    assert commit.add_tasks == []


def test_what_a_run_and_its_successor_owe_is_one_list() -> None:
    world = World()
    world.start()
    again: Sequence[law.Command] = [law.StartWorkflow(replacing())]
    decision = decide(world.run, again, world.context())
    assert kinds(decision) == [TaskKind.WORKFLOW]
    commit = decision.settle([Waiting("first")])
    assert commit.next_run is not None
    assert (commit.dispatches, len(commit.next_run.dispatches)) == ([], 1)


def replacing() -> given.StartWorkflowExecutionRequest:
    """A start that ends the run there is."""
    request = given.start_request(request_id="request-2")
    request.workflow_id_conflict_policy = 3  # pyright: ignore[reportAttributeAccessIssue] - TERMINATE_EXISTING
    return request


def test_the_law_is_told_whose_worker_is_gone() -> None:
    """It asks nobody: the name of the queue is a value, and another worker's queue is not meant by it."""
    for dead, expected in (("", "sticky"), ("another", "sticky"), ("sticky", "queue")):
        world, task = in_first_task()
        request = RespondWorkflowTaskCompletedRequest(identity=WORKER)
        request.sticky_attributes.worker_task_queue.name = "sticky"
        request.sticky_attributes.schedule_to_start_timeout.seconds = 5
        world.ask(law.CompleteWorkflowTask(decode_token(task.token), request))
        context = world.context()
        context.dead_queue = dead
        [owed] = decide(world.run, [law.Signal(given.signal_request())], context).queued
        assert owed.queue.name == expected


KEY = ExecutionKey("default", "order-1001", "run")
NOT_IN_A_PLAIN_COMMIT: dict[str, Any] = {
    "add_tasks": ["a task"],
    "remove_tasks": ["a row"],
    "messages": ["a message"],
    "remove_messages": ["id"],
    "updates": ["news"],
    "parts": {5: b"details"},
    "take_records": ["a record"],
    "index_changed": True,
    "next_run": Commit(KEY, 0, None),
    "expected_version": 0,
}
IN_ANY_COMMIT = {
    *("key", "execution", "events", "encoded", "batches", "wake_at_ns", "dispatches", "replies", "changed", "is_plain"),
    "expected_current_run_id",
}
"""What a store writes of every commit, or tells nobody of; of a run that starts, and is therefore not plain, its id."""


@pytest.mark.parametrize("field", sorted({*Commit.__struct_fields__} - IN_ANY_COMMIT))
def test_a_commit_is_plain_only_without_what_few_bring(field: str) -> None:
    """A field that is new is in neither list, and fails here until it is said to which of them it belongs."""
    plain = Commit(KEY, 3, None)
    assert not plain.is_plain, "nothing is said before it is closed"
    plain.close()
    assert plain.is_plain
    setattr(plain, field, NOT_IN_A_PLAIN_COMMIT[field])
    plain.close()
    assert not plain.is_plain


def test_what_a_run_brings_when_it_starts_or_is_followed_is_not_plain_and_its_signals_are() -> None:
    world = World()
    assert not world.when(law.StartWorkflow(given.start_request())).is_plain
    world.workflow_task()
    assert world.when(law.Signal(given.signal_request())).is_plain
    poller = Waiting("first")
    _, decision = two_activities()
    assert decision.settle([poller, poller]).is_plain, "what is dispatched at once is stored nowhere"
    _, decision = two_activities()
    assert not decision.settle([poller]).is_plain, "one of them is a row"
