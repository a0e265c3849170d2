"""Failures with more causes than protobuf's decoders take: shortened where they enter, and harmless where they lie."""

from __future__ import annotations

from typing import cast

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType, QueryResultType
from temporalio.api.errordetails.v1 import QueryFailedFailure
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.protocol.v1 import Message as ProtocolMessage
from temporalio.api.update.v1 import Acceptance, Rejection, Response
from temporalio.api.workflowservice import v1 as service

from perdure.api.depth import decode
from perdure.api.errors import Rejected
from perdure.api.failures import FAILURE_DEPTH_MAX, bounded, depth_of
from perdure.api.history import decode_batch
from perdure.frontend import WorkflowService
from perdure.frontend.rpcs import rpcs
from perdure.stores.api import Batch
from tests.engine.world import (
    World,
    activity_poll,
    complete,
    completion,
    describe_request,
    history,
    names,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)

DEEP = 90
"""Causes that still can be decoded alone, and in a history, but not in a response by everybody."""


def deep_bytes(causes: int) -> bytes:
    """A failure with so many causes, made without protobuf, which gives up at a hundred."""
    data = Failure(message="the root").SerializeToString()
    for number in range(causes):
        outer = Failure(message=f"level {number}")
        outer.application_failure_info.type = "Deep"
        data = outer.SerializeToString() + field(4, data)
    return data


def field(number: int, data: bytes) -> bytes:
    size, length = len(data), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | 2,)) + bytes(length) + data


def deep(causes: int = DEEP) -> Failure:
    return Failure.FromString(deep_bytes(causes))


def innermost(failure: Failure) -> Failure:
    while failure.HasField("cause"):
        failure = failure.cause
    return failure


def fail_command() -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION)
    command.fail_workflow_execution_command_attributes.failure.CopyFrom(deep())
    return command


async def started(connection: WorkflowService) -> service.PollWorkflowTaskQueueResponse:
    await connection.start_workflow_execution(start_request())
    return await connection.poll_workflow_task_queue(workflow_poll())


def all_failures(events: list[HistoryEvent]) -> list[Failure]:
    """Whatever an event holds as a failure."""
    found: list[Failure] = []

    def look(message: object) -> None:
        if isinstance(message, Failure):
            found.append(message)
            return
        for _, value in message.ListFields():  # type: ignore[attr-defined]
            for one in value if hasattr(value, "append") else (value,):
                if hasattr(one, "ListFields"):
                    look(one)

    for event in events:
        look(event)
    return found


# --- the rule ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("causes", [0, 1, FAILURE_DEPTH_MAX - 1])
def test_a_failure_within_the_bound_is_kept_as_it_is(causes: int) -> None:
    failure = deep(causes)
    assert bounded(failure) is failure
    assert innermost(failure).message == "the root"


def test_the_innermost_cause_that_is_kept_says_how_many_are_left_out() -> None:
    failure = deep(DEEP)
    kept = bounded(failure)
    assert depth_of(kept) == FAILURE_DEPTH_MAX
    assert kept.message == failure.message
    left_out = DEEP + 1 - FAILURE_DEPTH_MAX
    assert innermost(kept).message == f"level {left_out - 1} [{left_out} more causes were left out]"
    assert depth_of(failure) == DEEP + 1, "what was handed in is not changed"


@pytest.mark.parametrize("causes", [97, 98, 99, 150, 3_000])
def test_a_failure_that_cannot_be_decoded_is_shortened_on_its_bytes(causes: int) -> None:
    kept = decode(Failure, deep_bytes(causes))
    assert kept.message == f"level {causes - 1}"
    assert depth_of(bounded(kept)) == FAILURE_DEPTH_MAX
    assert "left out" in innermost(bounded(kept)).message


def test_bytes_that_are_no_message_stay_an_error() -> None:
    for data in (b"\xff", deep_bytes(150)[:-3], b"\x22\x7f" + b"\x22" * 10, field(4, b"\x00") * 30_000):
        with pytest.raises(DecodeError):
            decode(Failure, data)


def test_nothing_else_that_is_served_holds_itself() -> None:
    """A second such message needs a bound of its own: `perdure.api.depth` knows of failures alone."""
    recursive = {
        held.full_name
        for rpc in rpcs({})
        if "Nexus" not in rpc.name
        for held in reached(cast(Descriptor, rpc.request.DESCRIPTOR))
        if held.full_name in {inner.full_name for inner in reached(held)}
    }
    assert recursive == {Failure.DESCRIPTOR.full_name}


def reached(descriptor: Descriptor) -> list[Descriptor]:
    found: dict[str, Descriptor] = {}
    waiting = [descriptor]
    while waiting:
        for inner in waiting.pop().fields:
            held = inner.message_type
            if held is not None and held.full_name not in found:
                found[held.full_name] = held
                waiting.append(held)
    return list(found.values())


def test_every_event_that_can_hold_a_failure_is_shortened_when_it_is_read() -> None:
    for name, attributes in HistoryEvent.DESCRIPTOR.fields_by_name.items():
        if attributes.message_type is None or "nexus" in name:
            continue
        for path in failure_paths(attributes.message_type):
            event = HistoryEvent(event_type=f"EVENT_TYPE_{name.removesuffix('_event_attributes').upper()}")  # type: ignore[arg-type]
            holder = getattr(event, name)
            for step in path:
                holder = getattr(holder, step)
            holder.CopyFrom(deep())
            [read] = decode_batch(History(events=[event]).SerializeToString())
            assert [depth_of(failure) for failure in all_failures([read])] == [FAILURE_DEPTH_MAX], (name, path)


def failure_paths(descriptor: Descriptor) -> list[list[str]]:
    found: list[list[str]] = []
    for inner in descriptor.fields:
        if inner.message_type is None or inner.is_repeated:
            continue
        if inner.message_type.full_name == Failure.DESCRIPTOR.full_name:
            found.append([inner.name])
        elif inner.message_type.full_name != descriptor.full_name:
            found += [[inner.name, *path] for path in failure_paths(inner.message_type)]
    return found


# --- where failures enter -----------------------------------------------------------------------------


@virtual
async def test_an_activity_that_is_not_tried_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1", attempts=1)))
        activity = await connection.poll_activity_task_queue(activity_poll())
        await connection.respond_activity_task_failed(
            service.RespondActivityTaskFailedRequest(task_token=activity.task_token, failure=deep())
        )
        await check_all_are_bounded(connection, 1)


@virtual
async def test_an_activity_that_is_tried_again_and_then_times_out(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1", attempts=2)))
        activity = await connection.poll_activity_task_queue(activity_poll())
        await connection.respond_activity_task_failed_by_id(
            service.RespondActivityTaskFailedByIdRequest(
                namespace="default", workflow_id="order-1", activity_id="1", failure=deep()
            )
        )
        [pending] = (await connection.describe_workflow_execution(describe_request())).pending_activities
        assert depth_of(pending.last_failure) == FAILURE_DEPTH_MAX
        activity = await connection.poll_activity_task_queue(activity_poll())
        assert activity.attempt == 2
        await connection.poll_workflow_task_queue(workflow_poll())  # the second attempt times out
        failures = all_failures(await history(connection))
        assert [depth_of(failure) for failure in failures] == [FAILURE_DEPTH_MAX, FAILURE_DEPTH_MAX + 1]


@virtual
async def test_a_workflow_task(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        await connection.respond_workflow_task_failed(
            service.RespondWorkflowTaskFailedRequest(task_token=task.task_token, failure=deep())
        )
        await check_all_are_bounded(connection, 1)


@virtual
async def test_a_workflow_and_the_run_that_tries_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = start_request(continued_failure=deep())
        request.retry_policy.maximum_attempts = 2
        await connection.start_workflow_execution(request)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, fail_command()))
        first = await history(connection, run_id=task.workflow_execution.run_id)
        second = await history(connection)
        failures = [*all_failures(first), *all_failures(second)]
        assert [depth_of(failure) for failure in failures] == [FAILURE_DEPTH_MAX] * 3


@virtual
async def test_a_run_that_continues_as_new(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        command = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
        command.continue_as_new_workflow_execution_command_attributes.failure.CopyFrom(deep())
        await connection.respond_workflow_task_completed(completion(task.task_token, command))
        await check_all_are_bounded(connection, 1)


@virtual
async def test_a_marker(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
        command.record_marker_command_attributes.marker_name = "local"
        command.record_marker_command_attributes.failure.CopyFrom(deep())
        await connection.respond_workflow_task_completed(completion(task.task_token, command))
        await check_all_are_bounded(connection, 1)


@virtual
async def test_a_child_and_what_its_parent_is_told(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        command = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
        child = command.start_child_workflow_execution_command_attributes
        child.workflow_id, child.workflow_type.name, child.task_queue.name = "child", "ship", "children"
        await connection.respond_workflow_task_completed(completion(task.task_token, command))
        childs = await connection.poll_workflow_task_queue(workflow_poll("children"))
        await connection.respond_workflow_task_completed(completion(childs.task_token, fail_command()))
        while "CHILD_WORKFLOW_EXECUTION_FAILED" not in names(await history(connection)):
            task = await connection.poll_workflow_task_queue(workflow_poll())
            await connection.respond_workflow_task_completed(completion(task.task_token))
        await check_all_are_bounded(connection, 1)


@virtual
async def test_a_query_answered_alone_or_with_a_task(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        await connection.respond_workflow_task_completed(completion(task.task_token))
        query = service.QueryWorkflowRequest(namespace="default")
        query.execution.workflow_id = "order-1"
        query.query.query_type = "state"
        asked = world.loop.create_task(connection.query_workflow(query))
        question = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_query_task_completed(
            service.RespondQueryTaskCompletedRequest(
                task_token=question.task_token,
                completed_type=QueryResultType.QUERY_RESULT_TYPE_FAILED,
                error_message="no",
                failure=deep(),
            )
        )
        with pytest.raises(Rejected) as refused:
            await asked
        assert isinstance(refused.value.detail, QueryFailedFailure)
        assert depth_of(refused.value.detail.failure) == FAILURE_DEPTH_MAX


@pytest.mark.parametrize("accepts", [True, False])
def test_an_update(accepts: bool) -> None:
    @virtual
    async def play(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            task = await started(connection)
            await connection.respond_workflow_task_completed(completion(task.task_token))
            request = service.UpdateWorkflowExecutionRequest(namespace="default")
            request.workflow_execution.workflow_id = "order-1"
            request.request.meta.update_id = "u"
            request.request.input.name = "set"
            request.wait_policy.lifecycle_stage = 3  # type: ignore[assignment]
            asked = world.loop.create_task(connection.update_workflow_execution(request))
            task = await connection.poll_workflow_task_queue(workflow_poll())
            answer = completion(task.task_token)
            if accepts:
                response = Response()
                response.meta.update_id = "u"
                response.outcome.failure.CopyFrom(deep())
                bodies = [Acceptance(accepted_request_message_id="u/request"), response]
            else:
                bodies = [Rejection(rejected_request_message_id="u/request", failure=deep())]
            for number, body in enumerate(bodies):
                message = ProtocolMessage(id=str(number), protocol_instance_id="u")
                message.body.Pack(body)
                answer.messages.append(message)
            await connection.respond_workflow_task_completed(answer)
            assert depth_of((await asked).outcome.failure) == FAILURE_DEPTH_MAX
            await check_all_are_bounded(connection, 1 if accepts else 0)

    play()


async def check_all_are_bounded(connection: WorkflowService, count: int) -> None:
    failures = all_failures(await history(connection))
    assert [depth_of(failure) for failure in failures] == [FAILURE_DEPTH_MAX] * count


# --- where they lie already ---------------------------------------------------------------------------


def rewrite(world: World, change: bool) -> None:
    """Make what is stored of order-1 as an older perdure would have left it, or as nobody would."""
    for key, run in world.store.inner._runs.items():
        if key.workflow_id == "order-1":
            first = run.batches[0]
            event = HistoryEvent(event_id=3, event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
            deep_event = event.SerializeToString() + field(14, field(4, deep_bytes(98)))
            data = first.data + field(1, deep_event) if change else b"\xff" + first.data
            run.batches[0] = Batch(first.first_event_id, data)


@virtual
async def test_a_history_that_was_stored_too_deep_can_be_read(world: World) -> None:
    async with world.engine() as engine:
        await WorkflowService(engine).start_workflow_execution(start_request())
    rewrite(world, True)
    with pytest.raises(DecodeError):
        History.FromString(next(iter(world.store.inner._runs.values())).batches[0].data)
    async with world.engine() as engine:
        events = await engine.histories.page(next(iter(world.store.inner._runs)), 1, 3)
        [failure] = all_failures(list(events))
        assert depth_of(failure) == FAILURE_DEPTH_MAX


@virtual
async def test_a_task_that_cannot_be_put_together_fails_and_its_queue_goes_on(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await connection.start_workflow_execution(start_request("order-2"))
    rewrite(world, False)
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        first = await connection.poll_workflow_task_queue(workflow_poll())
        assert not first.task_token, "the poll that met it is answered with nothing"
        again = await connection.poll_workflow_task_queue(workflow_poll())
        assert not again.task_token, "its second attempt, of a run that is under way, takes turns with those that begin"
        second = await connection.poll_workflow_task_queue(workflow_poll())
        assert second.workflow_execution.workflow_id == "order-2"
        await connection.respond_workflow_task_completed(completion(second.task_token, complete()))
        [run] = [run for key, run in world.store.inner._runs.items() if key.workflow_id == "order-1"]
        failed = [event for batch in run.batches[1:] for event in decode_batch(batch.data)]
        assert names(failed)[-1] == "WORKFLOW_TASK_FAILED"
        said = failed[-1].workflow_task_failed_event_attributes.failure.message
        assert said.startswith("perdure cannot put this task together: DecodeError")


@virtual
async def test_an_activity_task_that_cannot_be_put_together_is_tried_again_later(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await started(connection)
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1")))
    [run] = world.store.inner._runs.values()
    run.batches[-1] = Batch(run.batches[-1].first_event_id, b"\xff")
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        assert not (await connection.poll_activity_task_queue(activity_poll())).task_token
        [pending] = (await connection.describe_workflow_execution(describe_request())).pending_activities
        assert pending.attempt == 2
        assert pending.last_failure.message.startswith("perdure cannot put this task together: DecodeError")


@virtual
async def test_a_task_is_given_back_while_the_store_does_not_serve(world: World) -> None:
    async with world.engine() as engine:
        await WorkflowService(engine).start_workflow_execution(start_request())
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        world.store.fails = lambda method: method == "history"
        with pytest.raises(Rejected):
            await connection.poll_workflow_task_queue(workflow_poll())
        world.store.fails = lambda method: False
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert task.attempt == 1
