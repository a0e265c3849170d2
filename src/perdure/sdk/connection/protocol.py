"""What the SDK needs of a server: RPCs of `temporal.api.workflowservice.v1.WorkflowService` by their names, and two
of its `OperatorService`.

Requests and responses are the wire's own messages, whether the other side is an engine in this
process (no socket, no serialisation) or a server behind gRPC. Every method raises
`perdure.api.errors.Rejected` with the code that the RPC would have ended with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from temporalio.api.operatorservice import v1 as operator
from temporalio.api.workflowservice import v1 as service

from perdure.api.enlistment import Enlistment, Standing


class Connection(Protocol):
    """A server, near or far."""

    async def add_search_attributes(
        self, request: operator.AddSearchAttributesRequest
    ) -> operator.AddSearchAttributesResponse: ...

    async def list_search_attributes(
        self, request: operator.ListSearchAttributesRequest
    ) -> operator.ListSearchAttributesResponse: ...

    async def start_workflow_execution(
        self, request: service.StartWorkflowExecutionRequest
    ) -> service.StartWorkflowExecutionResponse: ...

    async def signal_workflow_execution(
        self, request: service.SignalWorkflowExecutionRequest
    ) -> service.SignalWorkflowExecutionResponse: ...

    async def signal_with_start_workflow_execution(
        self, request: service.SignalWithStartWorkflowExecutionRequest
    ) -> service.SignalWithStartWorkflowExecutionResponse: ...

    async def query_workflow(self, request: service.QueryWorkflowRequest) -> service.QueryWorkflowResponse:
        """A worker gets the question as `query` of a poll's response (its history is empty when the worker is known
        to have the workflow in memory), or in `queries` of a workflow task. Waits for its answer about a minute."""
        ...

    async def respond_query_task_completed(
        self, request: service.RespondQueryTaskCompletedRequest
    ) -> service.RespondQueryTaskCompletedResponse: ...

    async def update_workflow_execution(
        self, request: service.UpdateWorkflowExecutionRequest
    ) -> service.UpdateWorkflowExecutionResponse:
        """Waits for the stage of `wait_policy`, some 20 s; then `stage` says how far it has come, without outcome."""
        ...

    async def poll_workflow_execution_update(
        self, request: service.PollWorkflowExecutionUpdateRequest
    ) -> service.PollWorkflowExecutionUpdateResponse:
        """Waits likewise; without a stage to wait for it is answered at once."""
        ...

    async def execute_multi_operation(
        self, request: service.ExecuteMultiOperationRequest
    ) -> service.ExecuteMultiOperationResponse:
        """[start_workflow, update_workflow] of one workflow id, both or neither."""
        ...

    async def poll_workflow_task_queue(
        self, request: service.PollWorkflowTaskQueueRequest
    ) -> service.PollWorkflowTaskQueueResponse:
        """Waits up to a minute for a task; a response without `task_token` means none came."""
        ...

    async def respond_workflow_task_completed(
        self, request: service.RespondWorkflowTaskCompletedRequest
    ) -> service.RespondWorkflowTaskCompletedResponse: ...

    async def respond_workflow_task_failed(
        self, request: service.RespondWorkflowTaskFailedRequest
    ) -> service.RespondWorkflowTaskFailedResponse: ...

    async def poll_activity_task_queue(
        self, request: service.PollActivityTaskQueueRequest
    ) -> service.PollActivityTaskQueueResponse:
        """Waits up to a minute for a task; a response without `task_token` means none came."""
        ...

    async def respond_activity_task_completed(
        self, request: service.RespondActivityTaskCompletedRequest
    ) -> service.RespondActivityTaskCompletedResponse: ...

    async def respond_activity_task_failed(
        self, request: service.RespondActivityTaskFailedRequest
    ) -> service.RespondActivityTaskFailedResponse: ...

    async def respond_activity_task_canceled(
        self, request: service.RespondActivityTaskCanceledRequest
    ) -> service.RespondActivityTaskCanceledResponse: ...

    async def record_activity_task_heartbeat(
        self, request: service.RecordActivityTaskHeartbeatRequest
    ) -> service.RecordActivityTaskHeartbeatResponse: ...

    async def respond_activity_task_completed_by_id(
        self, request: service.RespondActivityTaskCompletedByIdRequest
    ) -> service.RespondActivityTaskCompletedByIdResponse: ...

    async def respond_activity_task_failed_by_id(
        self, request: service.RespondActivityTaskFailedByIdRequest
    ) -> service.RespondActivityTaskFailedByIdResponse: ...

    async def respond_activity_task_canceled_by_id(
        self, request: service.RespondActivityTaskCanceledByIdRequest
    ) -> service.RespondActivityTaskCanceledByIdResponse: ...

    async def record_activity_task_heartbeat_by_id(
        self, request: service.RecordActivityTaskHeartbeatByIdRequest
    ) -> service.RecordActivityTaskHeartbeatByIdResponse: ...

    async def pause_activity(self, request: service.PauseActivityRequest) -> service.PauseActivityResponse: ...

    async def unpause_activity(self, request: service.UnpauseActivityRequest) -> service.UnpauseActivityResponse: ...

    async def reset_activity(self, request: service.ResetActivityRequest) -> service.ResetActivityResponse: ...

    async def update_activity_options(
        self, request: service.UpdateActivityOptionsRequest
    ) -> service.UpdateActivityOptionsResponse: ...

    async def get_workflow_execution_history(
        self, request: service.GetWorkflowExecutionHistoryRequest
    ) -> service.GetWorkflowExecutionHistoryResponse:
        """`wait_new_event` long-polls; `history_event_filter_type` CLOSE_EVENT gives the closing event alone."""
        ...

    async def get_workflow_execution_history_reverse(
        self, request: service.GetWorkflowExecutionHistoryReverseRequest
    ) -> service.GetWorkflowExecutionHistoryReverseResponse:
        """The newest events first, a page at a time."""
        ...

    async def describe_workflow_execution(
        self, request: service.DescribeWorkflowExecutionRequest
    ) -> service.DescribeWorkflowExecutionResponse: ...

    async def request_cancel_workflow_execution(
        self, request: service.RequestCancelWorkflowExecutionRequest
    ) -> service.RequestCancelWorkflowExecutionResponse: ...

    async def terminate_workflow_execution(
        self, request: service.TerminateWorkflowExecutionRequest
    ) -> service.TerminateWorkflowExecutionResponse: ...

    async def pause_workflow_execution(
        self, request: service.PauseWorkflowExecutionRequest
    ) -> service.PauseWorkflowExecutionResponse: ...

    async def unpause_workflow_execution(
        self, request: service.UnpauseWorkflowExecutionRequest
    ) -> service.UnpauseWorkflowExecutionResponse: ...

    async def reset_workflow_execution(
        self, request: service.ResetWorkflowExecutionRequest
    ) -> service.ResetWorkflowExecutionResponse: ...

    async def list_workflow_executions(
        self, request: service.ListWorkflowExecutionsRequest
    ) -> service.ListWorkflowExecutionsResponse: ...

    async def count_workflow_executions(
        self, request: service.CountWorkflowExecutionsRequest
    ) -> service.CountWorkflowExecutionsResponse: ...

    async def create_schedule(self, request: service.CreateScheduleRequest) -> service.CreateScheduleResponse: ...

    async def describe_schedule(self, request: service.DescribeScheduleRequest) -> service.DescribeScheduleResponse: ...

    async def patch_schedule(self, request: service.PatchScheduleRequest) -> service.PatchScheduleResponse: ...

    async def delete_schedule(self, request: service.DeleteScheduleRequest) -> service.DeleteScheduleResponse: ...

    async def list_schedules(self, request: service.ListSchedulesRequest) -> service.ListSchedulesResponse: ...

    async def list_schedule_matching_times(
        self, request: service.ListScheduleMatchingTimesRequest
    ) -> service.ListScheduleMatchingTimesResponse: ...

    async def describe_task_queue(
        self, request: service.DescribeTaskQueueRequest
    ) -> service.DescribeTaskQueueResponse: ...

    async def describe_namespace(
        self, request: service.DescribeNamespaceRequest
    ) -> service.DescribeNamespaceResponse: ...

    async def get_system_info(self, request: service.GetSystemInfoRequest) -> service.GetSystemInfoResponse: ...

    async def shutdown_worker(self, request: service.ShutdownWorkerRequest) -> service.ShutdownWorkerResponse: ...


@runtime_checkable
class NearConnection(Protocol):
    """An engine in this process: tasks come by calls on its event loop, and nobody has to ask for each.

    `take` is given what the poll's RPC would have answered, or what reads like it, and a function to call when there
    is room for the next task; it must not raise. At most `seats` tasks are out at once. What is returned ends it: no
    task comes any more.
    """

    def serve_workflow_tasks(
        self,
        request: service.PollWorkflowTaskQueueRequest,
        seats: int,
        take: Callable[[service.PollWorkflowTaskQueueResponse, Callable[[], None]], None],
    ) -> Callable[[], None]:
        """As so many PollWorkflowTaskQueue, one after another."""
        ...

    def serve_activity_tasks(
        self,
        request: service.PollActivityTaskQueueRequest,
        seats: int,
        take: Callable[[service.PollActivityTaskQueueResponse, Callable[[], None]], None],
    ) -> Callable[[], None]:
        """As so many PollActivityTaskQueue, one after another."""
        ...


@runtime_checkable
class EnlistingConnection(Protocol):
    """An engine in this process, whose store may be on a database that the caller writes to as well."""

    async def enlist(
        self,
        request: service.StartWorkflowExecutionRequest
        | service.SignalWorkflowExecutionRequest
        | service.SignalWithStartWorkflowExecutionRequest,
    ) -> Enlistment | service.StartWorkflowExecutionResponse:
        """What writes the request, so that it is made when the transaction of whoever runs it is committed.

        A response: nothing is to be written, for the run is there and the policies attach to it. Raises Rejected as
        the RPC of the request does, as far as that can be known now; UNIMPLEMENTED when the store cannot do this.
        """
        ...

    async def standing_of_enlisted(self, namespace: str, name: str, transaction: str) -> tuple[Standing, str]:
        """What has become of a request that a transaction has written; and why it was refused, if it was.

        Raises Rejected UNAVAILABLE.
        """
        ...


@runtime_checkable
class TransactionalConnection(Protocol):
    """An engine in this process whose store takes the rows of a transactional activity into its own transaction."""

    async def complete_activity_in_transaction(
        self, request: service.RespondActivityTaskCompletedRequest, work: Callable[[Any], bool]
    ) -> bool:
        """Run `work` in a write transaction of the store; if it says True, complete the activity in the same one.

        Args:
            work: given the user's side of the transaction, in any thread. Puts the result into `request`, or
                says False to have everything rolled back. Must not raise. May be called again from the start when
                what it wrote was rolled back.

        Returns whether both were kept. Raises Rejected as the RPC does, then with nothing kept; UNIMPLEMENTED
        when the store cannot do this.
        """
        ...
