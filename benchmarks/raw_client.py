"""A client of the API without an SDK: bare gRPC, so that thousands of polls cost the client little."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from google.protobuf.message import Message
from grpc import aio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice import v1 as service

SERVICE = "/temporal.api.workflowservice.v1.WorkflowService/"
LOCAL_POOL = [("grpc.use_local_subchannel_pool", 1)]
"""Every channel has a connection of its own."""


class RawClient:
    """One connection. Every method is one RPC; failures raise `aio.AioRpcError`."""

    def __init__(self, target: str) -> None:
        self.channel = aio.insecure_channel(target, options=LOCAL_POOL)

    def call(self, name: str, request: Message, response: type[Message], timeout: float = 30) -> Awaitable[Any]:
        stub: Any = self.channel.unary_unary(
            SERVICE + name, request_serializer=_serialize, response_deserializer=response.FromString
        )
        return stub(request, timeout=timeout)

    def poll_workflow(self, queue: str, timeout: float = 70) -> Awaitable[service.PollWorkflowTaskQueueResponse]:
        request = service.PollWorkflowTaskQueueRequest(namespace="default", identity="raw")
        request.task_queue.name = queue
        return self.call("PollWorkflowTaskQueue", request, service.PollWorkflowTaskQueueResponse, timeout)

    def poll_activity(self, queue: str, timeout: float = 70) -> Awaitable[service.PollActivityTaskQueueResponse]:
        request = service.PollActivityTaskQueueRequest(namespace="default", identity="raw")
        request.task_queue.name = queue
        return self.call("PollActivityTaskQueue", request, service.PollActivityTaskQueueResponse, timeout)

    def start(self, workflow_id: str, queue: str) -> Awaitable[service.StartWorkflowExecutionResponse]:
        request = service.StartWorkflowExecutionRequest(namespace="default", workflow_id=workflow_id)
        request.workflow_type.name = "raw"
        request.task_queue.name = queue
        return self.call("StartWorkflowExecution", request, service.StartWorkflowExecutionResponse)

    def describe(self, workflow_id: str) -> Awaitable[service.DescribeWorkflowExecutionResponse]:
        execution = WorkflowExecution(workflow_id=workflow_id)
        request = service.DescribeWorkflowExecutionRequest(namespace="default", execution=execution)
        return self.call("DescribeWorkflowExecution", request, service.DescribeWorkflowExecutionResponse)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
