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
    CreateScheduleInput,
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
    def __init__(self, reach: Reach, begin: Begin, schedule: Begin) -> None:
        self._reach = reach
        self._begin = begin
        self._schedule = schedule

    async def start_workflow(self, input: StartWorkflowInput) -> Any:
        args = tuple(input.args)
        return await self._begin(input.workflow, args, input.options, input.headers, input.message_headers)

    async def create_schedule(self, input: CreateScheduleInput) -> None:
        await self._schedule(input)

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


def composed(
    interceptors: Sequence[Interceptor], reach: Reach, begin: Begin, schedule: Begin
) -> ClientOutboundInterceptor | None:
    """The chain of a client; None for no interceptors.

    Args:
        begin: starts a workflow: the definition, its arguments, the other options of the call, the headers, and those
            of the message that goes along.
        schedule: makes a schedule, of its input.
    """
    chain: ClientOutboundInterceptor = _Root(reach, begin, schedule)
    for interceptor in reversed(interceptors):
        chain = interceptor.intercept_client(chain)
    return chain if interceptors else None
