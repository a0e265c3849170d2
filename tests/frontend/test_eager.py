"""What a worker gets in the same breath as it completes a workflow task."""

from __future__ import annotations

from temporalio.api.workflowservice import v1 as service

from perdure.frontend import WorkflowService
from tests.engine.world import (
    QUEUE,
    World,
    activity_poll,
    complete,
    completion,
    history,
    names,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)


def eager(activity_id: str) -> service.RespondWorkflowTaskCompletedRequest:
    command = schedule(activity_id)
    command.schedule_activity_task_command_attributes.request_eager_execution = True
    return completion(b"", command)


@virtual
async def test_an_eager_activity_comes_with_the_response(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        request = eager("1")
        request.task_token = task.task_token
        response = await connection.respond_workflow_task_completed(request)
        (activity,) = response.activity_tasks
        assert (activity.activity_id, activity.attempt) == ("1", 1)
        assert activity.input.payloads[0].data == b'"input"'
        await connection.respond_activity_task_completed(
            service.RespondActivityTaskCompletedRequest(task_token=activity.task_token)
        )
        assert "ACTIVITY_TASK_COMPLETED" in names(await history(connection))
        assert engine.metrics().row_starts == 1, "the workflow task alone"


@virtual
async def test_a_new_workflow_task_comes_with_the_response(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        request = completion(task.task_token)
        request.return_new_workflow_task = request.force_create_new_workflow_task = True
        response = await connection.respond_workflow_task_completed(request)
        assert response.workflow_task.started_event_id == 6
        assert response.workflow_task.previous_started_event_id == 3
        # As the polled one has; official SDKs refuse a task that names no queue.
        assert response.workflow_task.workflow_execution_task_queue.name == QUEUE
        assert task.workflow_execution_task_queue.name == QUEUE
        await connection.respond_workflow_task_completed(completion(response.workflow_task.task_token, complete()))
        assert names(await history(connection))[-1] == "WORKFLOW_EXECUTION_COMPLETED"


@virtual
async def test_a_completion_stands_even_if_what_was_to_go_with_it_cannot_be_read(world: World) -> None:
    async with world.engine(tail_events_max=1) as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        request = eager("1")
        request.task_token = task.task_token
        request.commands.append(request.commands[0])
        request.commands[1].schedule_activity_task_command_attributes.activity_id = "2"
        request.commands[1].schedule_activity_task_command_attributes.input.payloads[0].data = b"x" * 600_000
        world.store.fails = lambda method: method == "history"
        response = await connection.respond_workflow_task_completed(request)
        assert len(response.activity_tasks) < 2
        world.store.fails = lambda method: False
        assert names(await history(connection)).count("ACTIVITY_TASK_SCHEDULED") == 2
        activity = await connection.poll_activity_task_queue(activity_poll())
        assert activity.attempt == 2, "it was left to its time-out"
