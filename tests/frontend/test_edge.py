"""What is refused at the edge, with which code and wording. The wording is Temporal's, read off its server."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend import WorkflowService
from perdure.stores.api import Namespace
from tests.engine.world import (
    World,
    activity_poll,
    completion,
    describe_request,
    history_request,
    schedule,
    start_request,
    virtual,
    workflow_poll,
)

INVALID, NOT_FOUND = StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND


def without(request: Any, *fields: str) -> Any:
    for field in fields:
        request.ClearField(field)
    return request


RUN = "0199a0b0-0000-7000-8000-000000000000"

REFUSED: list[tuple[str, Any, StatusCode, str]] = [
    ("start_workflow_execution", without(start_request(), "namespace"), INVALID, "Namespace is empty."),
    ("start_workflow_execution", without(start_request(), "workflow_id"), INVALID, "WorkflowId is not set on request."),
    (
        "start_workflow_execution",
        without(start_request(), "workflow_type"),
        INVALID,
        "WorkflowType is not set on request.",
    ),
    ("start_workflow_execution", without(start_request(), "task_queue"), INVALID, "taskQueue is not set"),
    (
        "start_workflow_execution",
        start_request("x" * 1001),
        INVALID,
        "WorkflowId exceeds maximum allowed length (1001/1000)",
    ),
    ("describe_workflow_execution", describe_request(""), INVALID, "WorkflowId is not set on request."),
    ("describe_workflow_execution", describe_request("nobody"), NOT_FOUND, "workflow not found for ID: nobody"),
    ("describe_workflow_execution", describe_request("nobody", "abc"), INVALID, "Invalid RunId."),
    (
        "describe_workflow_execution",
        describe_request("nobody", RUN),
        NOT_FOUND,
        f'workflow execution not found for workflow ID "nobody" and run ID "{RUN}"',
    ),
    ("get_workflow_execution_history", history_request(""), INVALID, "WorkflowId is not set on request."),
    ("get_workflow_execution_history", history_request("nobody"), NOT_FOUND, "workflow not found for ID: nobody"),
    (
        "get_workflow_execution_history",
        history_request("nobody", next_page_token=b"abc"),
        INVALID,
        "Invalid NextPageToken.",
    ),
    ("poll_workflow_task_queue", workflow_poll(""), INVALID, "taskQueue is not set"),
    ("poll_activity_task_queue", activity_poll(""), INVALID, "taskQueue is not set"),
    (
        "poll_activity_task_queue",
        activity_poll("x" * 1001),
        INVALID,
        "taskQueue exceeds maximum allowed length (1001/1000)",
    ),
    ("respond_workflow_task_completed", completion(b""), INVALID, "Task token not set on request."),
    ("respond_workflow_task_completed", completion(b"abc"), INVALID, "Error deserializing task token."),
    (
        "respond_activity_task_completed",
        service.RespondActivityTaskCompletedRequest(),
        INVALID,
        "Task token not set on request.",
    ),
    (
        "request_cancel_workflow_execution",
        service.RequestCancelWorkflowExecutionRequest(namespace="default"),
        INVALID,
        "Execution is not set on request.",
    ),
    (
        "terminate_workflow_execution",
        service.TerminateWorkflowExecutionRequest(namespace="default"),
        INVALID,
        "Execution is not set on request.",
    ),
    ("describe_namespace", service.DescribeNamespaceRequest(), INVALID, "Namespace not set on request."),
    (
        "reset_workflow_execution",
        service.ResetWorkflowExecutionRequest(namespace="default"),
        INVALID,
        "RequestId is not set on request.",
    ),
    (
        "describe_namespace",
        service.DescribeNamespaceRequest(id="nowhere"),
        NOT_FOUND,
        "Namespace nowhere is not found.",
    ),
    (
        "list_workflow_executions",
        service.ListWorkflowExecutionsRequest(namespace="default", next_page_token=b"abc"),
        INVALID,
        "Invalid NextPageToken.",
    ),
]


@pytest.mark.parametrize(("rpc", "request_", "code", "message"), REFUSED)
def test_a_malformed_request_is_refused_in_words(rpc: str, request_: Any, code: StatusCode, message: str) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            with pytest.raises(Rejected) as refused:
                await getattr(WorkflowService(engine), rpc)(request_)
            assert (refused.value.code, refused.value.message) == (code, message)

    scenario()


NAMESPACED = [
    ("start_workflow_execution", start_request()),
    ("describe_workflow_execution", describe_request()),
    ("get_workflow_execution_history", history_request()),
    ("poll_workflow_task_queue", workflow_poll()),
    ("poll_activity_task_queue", activity_poll()),
    ("request_cancel_workflow_execution", service.RequestCancelWorkflowExecutionRequest()),
    ("terminate_workflow_execution", service.TerminateWorkflowExecutionRequest()),
    ("list_workflow_executions", service.ListWorkflowExecutionsRequest()),
    ("count_workflow_executions", service.CountWorkflowExecutionsRequest()),
    ("describe_namespace", service.DescribeNamespaceRequest()),
    ("shutdown_worker", service.ShutdownWorkerRequest()),
]


@pytest.mark.parametrize(("rpc", "request_"), NAMESPACED)
def test_an_unknown_namespace_is_named_in_the_detail(rpc: str, request_: Any) -> None:
    request = type(request_)()
    request.CopyFrom(request_)
    request.namespace = "nowhere"

    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            with pytest.raises(Rejected) as refused:
                await getattr(WorkflowService(engine), rpc)(request)
            assert refused.value.code is NOT_FOUND
            assert refused.value.message == "Namespace nowhere is not found."
            assert refused.value.detail == NamespaceNotFoundFailure(namespace="nowhere")

    scenario()


@virtual
async def test_a_token_of_another_kind_or_namespace_is_refused(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await engine.namespaces.add(Namespace("other", "another-id", 1))
        task = await connection.poll_workflow_task_queue(workflow_poll())
        with pytest.raises(Rejected, match="invalid activityID"):
            await connection.respond_activity_task_completed(
                service.RespondActivityTaskCompletedRequest(task_token=task.task_token)
            )
        with pytest.raises(Rejected, match="a token from a different namespace"):
            await connection.respond_workflow_task_completed(
                service.RespondWorkflowTaskCompletedRequest(task_token=task.task_token, namespace="other")
            )
        with pytest.raises(Rejected, match="Namespace nowhere is not found"):
            await connection.respond_workflow_task_completed(
                service.RespondWorkflowTaskCompletedRequest(task_token=task.task_token, namespace="nowhere")
            )


@virtual
async def test_a_failure_must_say_what_kind_it_is(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1")))
        activity = await connection.poll_activity_task_queue(activity_poll())
        request = service.RespondActivityTaskFailedRequest(task_token=activity.task_token)
        request.failure.message = "declined"
        with pytest.raises(Rejected, match=r"Failure must have ApplicationFailureInfo\."):
            await connection.respond_activity_task_failed(request)
