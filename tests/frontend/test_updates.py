"""Updates at the edge: answered at the stage that was asked for, once for each id, in history only if accepted."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.enums.v1 import CommandType, UpdateWorkflowExecutionLifecycleStage
from temporalio.api.errordetails.v1 import MultiOperationExecutionFailure
from temporalio.api.failure.v1 import Failure
from temporalio.api.protocol.v1 import Message
from temporalio.api.update.v1 import Acceptance, Outcome, Rejection, Request, Response
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend import WorkflowService
from tests.engine.world import (
    Command,
    World,
    complete,
    completion,
    history,
    names,
    start_request,
    virtual,
    workflow_poll,
)

Stages = UpdateWorkflowExecutionLifecycleStage
ADMITTED = Stages.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ADMITTED
ACCEPTED = Stages.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_ACCEPTED
COMPLETED = Stages.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED


def update_request(update_id: str = "u1", stage: Any = COMPLETED) -> service.UpdateWorkflowExecutionRequest:
    request = service.UpdateWorkflowExecutionRequest(namespace="default")
    request.workflow_execution.workflow_id = "order-1"
    request.wait_policy.lifecycle_stage = stage
    request.request.meta.update_id = update_id
    request.request.meta.identity = "client"
    request.request.input.name = "set_address"
    request.request.input.args.payloads.add(data=b'"Elm Street"')
    return request


def poll_request(update_id: str = "u1", stage: Any = 0) -> service.PollWorkflowExecutionUpdateRequest:
    request = service.PollWorkflowExecutionUpdateRequest(namespace="default")
    request.update_ref.workflow_execution.workflow_id = "order-1"
    request.update_ref.update_id = update_id
    request.wait_policy.lifecycle_stage = stage
    return request


def with_start_request(update_id: str = "u1", **fields: Any) -> service.ExecuteMultiOperationRequest:
    request = service.ExecuteMultiOperationRequest(namespace="default")
    settings: dict[str, Any] = {"workflow_id_conflict_policy": 2, **fields}
    start = start_request(**settings)
    request.operations.add(start_workflow=start)
    request.operations.add(update_workflow=update_request(update_id))
    return request


def accepted(message: Message) -> Message:
    answer = Message(id=f"{message.protocol_instance_id}/accept", protocol_instance_id=message.protocol_instance_id)
    request = Request()
    message.body.Unpack(request)
    answer.body.Pack(
        Acceptance(
            accepted_request_message_id=message.id,
            accepted_request_sequencing_event_id=message.event_id,
            accepted_request=request,
        )
    )
    return answer


def responded(update_id: str, data: bytes = b'"set"') -> Message:
    answer = Message(id=f"{update_id}/complete", protocol_instance_id=update_id)
    response = Response()
    response.meta.update_id = update_id
    response.outcome.success.payloads.add(data=data)
    answer.body.Pack(response)
    return answer


def rejected(message: Message) -> Message:
    answer = Message(id=f"{message.protocol_instance_id}/reject", protocol_instance_id=message.protocol_instance_id)
    answer.body.Pack(Rejection(rejected_request_message_id=message.id, failure=Failure(message="no such street")))
    return answer


def command_for(message: Message) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE)
    command.protocol_message_command_attributes.message_id = message.id
    return command


def answered(
    token: bytes, *messages: Message, rejections: tuple[Message, ...] = (), commands: tuple[Command, ...] = ()
) -> service.RespondWorkflowTaskCompletedRequest:
    """Messages that need a command get one, in order, before the other commands."""
    request = completion(token, *[command_for(message) for message in messages], *commands)
    request.messages.extend([*messages, *rejections])
    return request


async def refusal(call: Any) -> Rejected:
    try:
        await call
    except Rejected as refused:
        return refused
    raise AssertionError("was not refused")


async def started(connection: WorkflowService) -> None:
    """A run whose first workflow task is done."""
    await connection.start_workflow_execution(start_request())
    task = await connection.poll_workflow_task_queue(workflow_poll())
    await connection.respond_workflow_task_completed(completion(task.task_token))


async def with_task(
    connection: WorkflowService, *requests: service.UpdateWorkflowExecutionRequest
) -> tuple[list[asyncio.Task[Any]], service.PollWorkflowTaskQueueResponse]:
    """Ask for updates, and take the workflow task that they come with."""
    asked: list[asyncio.Task[Any]] = []
    for request in requests:
        asked.append(asyncio.ensure_future(connection.update_workflow_execution(request)))
        await asyncio.sleep(0.01)
    return asked, await connection.poll_workflow_task_queue(workflow_poll())


def data_of(outcome: Outcome) -> bytes:
    return outcome.success.payloads[0].data


@virtual
async def test_an_update_is_answered_with_its_outcome(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await started(connection)
        [asked], task = await with_task(connection, update_request())
        [message] = task.messages
        assert (message.id, message.protocol_instance_id, message.event_id) == ("u1/request", "u1", 5)
        assert [event.event_id for event in task.history.events] == [1, 2, 3, 4, 5, 6]
        await connection.respond_workflow_task_completed(answered(task.task_token, accepted(message), responded("u1")))
        answer = await asked
        assert (answer.stage, data_of(answer.outcome)) == (COMPLETED, b'"set"')
        assert (answer.update_ref.update_id, answer.update_ref.workflow_execution.workflow_id) == ("u1", "order-1")
        assert names(await history(connection))[4:] == [
            *["WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED", "WORKFLOW_TASK_COMPLETED"],
            *["WORKFLOW_EXECUTION_UPDATE_ACCEPTED", "WORKFLOW_EXECUTION_UPDATE_COMPLETED"],
        ]


@virtual
async def test_the_same_id_again_is_the_same_update(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await started(connection)
        asked, task = await with_task(connection, update_request(), update_request())
        assert len(task.messages) == 1
        await connection.respond_workflow_task_completed(
            answered(task.task_token, accepted(task.messages[0]), responded("u1"))
        )
        outcomes = [(await one).outcome for one in asked]
        again = await connection.update_workflow_execution(update_request())
        assert {data_of(outcome) for outcome in [*outcomes, again.outcome]} == {b'"set"'}
        assert names(await history(connection)).count("WORKFLOW_EXECUTION_UPDATE_ACCEPTED") == 1


@virtual
async def test_a_rejected_update_leaves_no_event(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await started(connection)
        before = names(await history(connection))
        [asked], task = await with_task(connection, update_request())
        done = await connection.respond_workflow_task_completed(
            answered(task.task_token, rejections=(rejected(task.messages[0]),))
        )
        assert done.reset_history_event_id == 3
        answer = await asked
        assert (answer.stage, answer.outcome.failure.message) == (COMPLETED, "no such street")
        assert names(await history(connection)) == before
        refused = await refusal(connection.poll_workflow_execution_update(poll_request()))
        assert (refused.code, refused.message) == (StatusCode.NOT_FOUND, 'update "u1" not found')


@virtual
async def test_each_caller_is_answered_at_its_own_stage(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await started(connection)
        admitted = await connection.update_workflow_execution(update_request(stage=ADMITTED))
        assert admitted.stage == ADMITTED
        [asked, waiting], task = await with_task(connection, update_request(stage=ACCEPTED), update_request())
        await connection.respond_workflow_task_completed(answered(task.task_token, accepted(task.messages[0])))
        assert (await asked).stage == ACCEPTED
        assert (await connection.poll_workflow_execution_update(poll_request())).stage == ACCEPTED
        assert not waiting.done()
        [other], task = await with_task(connection, update_request("u2"))
        await connection.respond_workflow_task_completed(
            answered(task.task_token, responded("u1"), accepted(task.messages[0]), responded("u2", b'"two"'))
        )
        assert data_of((await waiting).outcome) == b'"set"'
        assert data_of((await other).outcome) == b'"two"'
        polled = await connection.poll_workflow_execution_update(poll_request("u2", COMPLETED))
        assert data_of(polled.outcome) == b'"two"'


@virtual
async def test_whoever_waits_too_long_is_told_how_far_it_has_come(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await started(connection)
        answer = await connection.update_workflow_execution(update_request())
        assert (answer.stage, answer.HasField("outcome")) == (ADMITTED, False)
        assert (await connection.poll_workflow_execution_update(poll_request(stage=ACCEPTED))).stage == ADMITTED


@virtual
async def test_an_admitted_update_survives_the_engine(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await started(connection)
        await connection.update_workflow_execution(update_request(stage=ADMITTED))
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        waiting = asyncio.ensure_future(connection.poll_workflow_execution_update(poll_request(stage=COMPLETED)))
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(
            answered(task.task_token, accepted(task.messages[0]), responded("u1"))
        )
        assert data_of((await waiting).outcome) == b'"set"'


@virtual
async def test_a_closing_workflow_tells_its_updates(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await started(connection)
        [first, second], task = await with_task(connection, update_request("u1"), update_request("u2"))
        await connection.respond_workflow_task_completed(
            answered(task.task_token, accepted(task.messages[0]), commands=(complete(),))
        )
        outcome = (await first).outcome
        assert outcome.failure.application_failure_info.type == "AcceptedUpdateCompletedWorkflow"
        refused = await refusal(second)
        assert (refused.code, refused.message) == (
            StatusCode.NOT_FOUND,
            "workflow update was aborted by closing workflow",
        )
        again = await connection.update_workflow_execution(update_request("u1"))
        assert again.outcome == outcome
        late = await refusal(connection.update_workflow_execution(update_request("u3")))
        assert (late.code, late.message) == (StatusCode.NOT_FOUND, "workflow execution already completed")


@virtual
async def test_an_update_may_come_with_its_start(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        asked = asyncio.ensure_future(connection.execute_multi_operation(with_start_request()))
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert [event.event_id for event in task.history.events] == [1, 2, 3]
        await connection.respond_workflow_task_completed(
            answered(task.task_token, accepted(task.messages[0]), responded("u1"))
        )
        start, update = (await asked).responses
        assert start.start_workflow.started
        assert data_of(update.update_workflow.outcome) == b'"set"'
        again = await connection.execute_multi_operation(with_start_request())
        assert not again.responses[0].start_workflow.started
        assert again.responses[1].update_workflow.outcome == update.update_workflow.outcome


@virtual
async def test_a_refused_start_takes_its_update_with_it(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await started(connection)
        refused = await refusal(
            connection.execute_multi_operation(with_start_request("u2", workflow_id_conflict_policy=1))
        )
        assert refused.code == StatusCode.ALREADY_EXISTS
        assert isinstance(refused.detail, MultiOperationExecutionFailure)
        assert [status.code for status in refused.detail.statuses] == [StatusCode.ALREADY_EXISTS, StatusCode.ABORTED]
        missing = await refusal(connection.poll_workflow_execution_update(poll_request("u2")))
        assert missing.code == StatusCode.NOT_FOUND


@virtual
async def test_a_request_that_makes_no_sense_is_refused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await started(connection)
        request = update_request()
        request.request.input.name = ""
        refused = await refusal(connection.update_workflow_execution(request))
        assert (refused.code, refused.message) == (StatusCode.INVALID_ARGUMENT, "Update name is not set on request.")
        request = update_request()
        request.first_execution_run_id = "another"
        refused = await refusal(connection.update_workflow_execution(request))
        assert (refused.code, refused.message) == (StatusCode.NOT_FOUND, "workflow execution not found")
        twice = with_start_request()
        del twice.operations[0]
        refused = await refusal(connection.execute_multi_operation(twice))
        assert refused.message == "Operations have to be exactly [Start, Update]."
