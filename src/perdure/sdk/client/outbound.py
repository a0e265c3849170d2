"""The end of a client's chain of interceptors: where what is asked for is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from perdure.sdk.client import inquiry, messages
from perdure.sdk.client.calls import Reach
from perdure.sdk.client.descriptions import WorkflowDescription, description_of
from perdure.sdk.interceptors import (
    CancelWorkflowInput,
    ClientOutboundInterceptor,
    DescribeWorkflowInput,
    Interceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    TerminateWorkflowInput,
)

Begin = Callable[..., Awaitable[Any]]


async def describe(reach: Reach, given: DescribeWorkflowInput) -> WorkflowDescription:
    """`WorkflowHandle.describe`. Raises WorkflowNotFoundError, PayloadError."""
    execution = messages.execution_of(given.id, given.run_id)
    return description_of(await inquiry.look(reach, execution, stack=given.stack), reach.converter)


class _Root(ClientOutboundInterceptor):
    def __init__(self, reach: Reach, begin: Begin) -> None:
        self._reach = reach
        self._begin = begin

    async def start_workflow(self, input: StartWorkflowInput) -> Any:
        return await self._begin(input.workflow, tuple(input.args), input.options, input.headers)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        await messages.send_signal(self._reach, input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        return await messages.send_query(self._reach, input)

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> Any:
        return await messages.start_update(self._reach, input)

    async def describe_workflow(self, input: DescribeWorkflowInput) -> Any:
        return await describe(self._reach, input)

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:
        await messages.request_cancel(self._reach, input)

    async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:
        await messages.terminate(self._reach, input)


def composed(interceptors: Sequence[Interceptor], reach: Reach, begin: Begin) -> ClientOutboundInterceptor | None:
    """The chain of a client; None for no interceptors.

    Args:
        begin: starts a workflow: the definition, its arguments, the other options of the call, the headers.
    """
    chain: ClientOutboundInterceptor = _Root(reach, begin)
    for interceptor in reversed(interceptors):
        chain = interceptor.intercept_client(chain)
    return chain if interceptors else None
