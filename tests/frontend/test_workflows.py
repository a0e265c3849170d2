"""Describe, cancel, terminate, lists, counts, and what the server says of itself."""

from __future__ import annotations

import pytest
from temporalio.api.enums.v1 import PendingActivityState as ActivityState
from temporalio.api.enums.v1 import PendingWorkflowTaskState as TaskState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import timestamp_ns
from perdure.frontend import WorkflowService
from perdure.stores.api import Namespace
from tests.engine.world import (
    QUEUE,
    Worker,
    World,
    activity_poll,
    completion,
    describe_request,
    history,
    names,
    outcome,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)

S = 1_000_000_000


def cancel_request() -> service.RequestCancelWorkflowExecutionRequest:
    request = service.RequestCancelWorkflowExecutionRequest(namespace="default", identity="me", reason="enough")
    request.workflow_execution.workflow_id = "order-1"
    return request


def terminate_request(workflow_id: str = "order-1") -> service.TerminateWorkflowExecutionRequest:
    request = service.TerminateWorkflowExecutionRequest(namespace="default", identity="me", reason="enough")
    request.workflow_execution.workflow_id = workflow_id
    return request


@virtual
async def test_describe_an_open_run(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        request = start_request()
        request.workflow_run_timeout.seconds = 3600
        request.memo.fields["customer"].data = b'"ada"'
        request.user_metadata.summary.data = b'"the order"'
        started = await connection.start_workflow_execution(request)
        begin_ns = world.clock.now_ns()
        described = await connection.describe_workflow_execution(describe_request())
        info = described.workflow_execution_info
        assert (info.execution.workflow_id, info.execution.run_id) == ("order-1", started.run_id)
        assert info.root_execution == info.execution
        assert (info.type.name, info.task_queue, info.status, info.history_length) == ("fulfil", QUEUE, 1, 2)
        assert timestamp_ns(info.start_time) == begin_ns
        assert not info.HasField("close_time")
        assert info.memo.fields["customer"].data == b'"ada"'
        assert info.history_size_bytes > 100
        config = described.execution_config
        assert config.workflow_run_timeout.seconds == 3600
        assert not config.HasField("workflow_execution_timeout")
        assert config.user_metadata.summary.data == b'"the order"'
        extended = described.workflow_extended_info
        assert timestamp_ns(extended.run_expiration_time) == begin_ns + 3600 * S
        assert described.pending_workflow_task.state == TaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
        await connection.poll_workflow_task_queue(workflow_poll())
        described = await connection.describe_workflow_execution(describe_request())
        assert described.pending_workflow_task.state == TaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
        assert described.pending_workflow_task.attempt == 1


@virtual
async def test_describe_a_pending_activity_through_its_life(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        command = schedule("1", seconds=10, attempts=5)
        command.schedule_activity_task_command_attributes.schedule_to_close_timeout.seconds = 100
        await connection.respond_workflow_task_completed(completion(task.task_token, command))
        begin_ns = world.clock.now_ns()

        async def pending() -> PendingActivityInfo:
            return (await connection.describe_workflow_execution(describe_request())).pending_activities[0]

        info = await pending()
        assert (info.activity_id, info.activity_type.name, info.attempt, info.maximum_attempts) == ("1", "charge", 1, 5)
        assert info.state == ActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        assert timestamp_ns(info.expiration_time) == begin_ns + 100 * S
        assert info.activity_options.start_to_close_timeout.seconds == 10
        activity = await connection.poll_activity_task_queue(activity_poll())
        beat = service.RecordActivityTaskHeartbeatRequest(task_token=activity.task_token)
        beat.details.payloads.add(data=b"half")
        assert not (await connection.record_activity_task_heartbeat(beat)).cancel_requested
        info = await pending()
        assert info.state == ActivityState.PENDING_ACTIVITY_STATE_STARTED
        assert info.heartbeat_details.payloads[0].data == b"half"
        assert info.last_worker_identity == "worker"
        assert timestamp_ns(info.last_started_time) == begin_ns
        failed = service.RespondActivityTaskFailedRequest(task_token=activity.task_token)
        failed.failure.message = "declined"
        failed.failure.application_failure_info.type = "Declined"
        await connection.respond_activity_task_failed(failed)
        info = await pending()
        assert info.state == ActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        assert (info.attempt, info.last_failure.message) == (2, "declined")
        assert timestamp_ns(info.next_attempt_schedule_time) == begin_ns + S
        assert not info.HasField("last_started_time")


@virtual
async def test_describe_a_closed_run_also_when_it_is_not_the_newest(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        worker = Worker(connection).start()
        old = await connection.start_workflow_execution(start_request())
        await outcome(connection, "order-1", old.run_id)
        await worker.stop()
        new = await connection.start_workflow_execution(start_request())
        described = await connection.describe_workflow_execution(describe_request(run_id=old.run_id))
        assert described.workflow_execution_info.status == 2
        assert described.workflow_execution_info.HasField("close_time")
        assert not described.pending_activities
        assert not described.HasField("pending_workflow_task")
        described = await connection.describe_workflow_execution(describe_request())
        assert described.workflow_execution_info.execution.run_id == new.run_id


@virtual
async def test_cancel_and_terminate(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await connection.request_cancel_workflow_execution(cancel_request())
        described = await connection.describe_workflow_execution(describe_request())
        assert described.workflow_extended_info.cancel_requested
        await connection.terminate_workflow_execution(terminate_request())
        events = await history(connection)
        assert names(events)[2:] == ["WORKFLOW_EXECUTION_CANCEL_REQUESTED", "WORKFLOW_EXECUTION_TERMINATED"]
        assert events[-1].workflow_execution_terminated_event_attributes.reason == "enough"
        with pytest.raises(Rejected) as refused:
            await connection.terminate_workflow_execution(terminate_request())
        assert refused.value.code is StatusCode.NOT_FOUND


@virtual
async def test_the_default_namespace_is_there_and_others_can_be_described(world: World) -> None:
    async with world.engine(default_retention_ns=7 * 86_400 * 10**9) as engine:
        connection = WorkflowService(engine)
        described = await connection.describe_namespace(service.DescribeNamespaceRequest(namespace="default"))
        assert described.config.workflow_execution_retention_ttl.seconds == 7 * 86400
        await engine.namespaces.add(Namespace("shop", "some-id", 30 * 86_400 * 10**9, "the shop"))
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        described = await connection.describe_namespace(service.DescribeNamespaceRequest(id="some-id"))
        assert (described.namespace_info.name, described.namespace_info.description) == ("shop", "the shop")
        request = start_request()
        request.namespace = "shop"
        assert (await connection.start_workflow_execution(request)).started
        described = await connection.describe_namespace(service.DescribeNamespaceRequest(namespace="default"))
        assert described.config.workflow_execution_retention_ttl.seconds == 7 * 86400, "it was made once"


@virtual
async def test_the_server_says_what_it_is(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        info = await connection.get_system_info(service.GetSystemInfoRequest())
        assert info.server_version
        assert info.capabilities.encoded_failure_attributes
        assert info.capabilities.supports_schedules
        assert not info.capabilities.nexus
