"""Activity tasks: poll, completed, failed, canceled, heartbeat."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from functools import partial
from typing import Any

from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice import v1 as service

from perdure.core.commands import CompleteActivity, FailActivity, RecordHeartbeat, ReportActivityCanceled
from perdure.core.names import QueueName, TaskKind
from perdure.core.replies import HeartbeatRecorded
from perdure.core.started import StartedActivityTask
from perdure.core.tokens import TaskToken
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_length, check_queue, exceeds_blob_limit, invalid, token_of
from perdure.frontend.responses import activity_task_response
from perdure.frontend.unfit import set_aside


class ActivityTasks:
    """The RPCs of activity workers. Each answer raises Rejected NOT_FOUND when the attempt is not owed any more."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def poll(
        self, request: service.PollActivityTaskQueueRequest, call: Call
    ) -> service.PollActivityTaskQueueResponse:
        """PollActivityTaskQueue: waits for a task; an empty response when none came in time."""
        engine = self._engine
        check_queue(call, request.task_queue.name)
        check_length(call, "Identity", request.identity)
        queue = QueueName(request.namespace, request.task_queue.name, TaskKind.ACTIVITY)
        polled = await engine.poll(
            queue, request.identity, call.bounded_poll(engine.config.long_poll_ns), request.worker_instance_key
        )
        if polled is None:
            return service.PollActivityTaskQueueResponse()
        task, waiting = polled
        assert isinstance(task, StartedActivityTask)
        try:
            response = await activity_task_response(engine, task)
        except BaseException as error:  # also when the caller goes away meanwhile
            if await set_aside(engine, waiting, task, error):
                raise
            return service.PollActivityTaskQueueResponse()
        call.if_undelivered(partial(engine.matching.give_back, waiting, task))
        suggestion = engine.matching.scaling(waiting)
        if suggestion:
            response.poller_scaling_decision.poll_request_delta_suggestion = suggestion
        return response

    async def completed(
        self, request: service.RespondActivityTaskCompletedRequest, call: Call
    ) -> service.RespondActivityTaskCompletedResponse:
        """RespondActivityTaskCompleted. A result beyond the blob limit fails the activity for good."""
        await self.complete(token_of(call, TaskKind.ACTIVITY), request, call)
        return service.RespondActivityTaskCompletedResponse()

    async def complete(
        self, token: TaskToken, request: service.RespondActivityTaskCompletedRequest, call: Call
    ) -> None:
        """As `completed`, whatever names the activity."""
        if exceeds_blob_limit(call, request.result):
            await self._fail(token, request.identity, "Complete result exceeds size limit.")
        else:
            await self._submit(token, CompleteActivity(token, request))

    async def completed_in_transaction(
        self, request: service.RespondActivityTaskCompletedRequest, call: Call, work: Callable[[Any], bool]
    ) -> bool:
        """No RPC: as RespondActivityTaskCompleted, with `work` writing in the transaction of the completion.

        `work` puts the result into the request. See `perdure.sdk.connection.protocol.TransactionalConnection`.
        Raises Rejected UNIMPLEMENTED when the store cannot do that, INVALID_ARGUMENT for a result that is too large.
        """
        token = token_of(call, TaskKind.ACTIVITY)
        key = token.key
        kept = await self._engine.submit_in_transaction(
            key.namespace,
            key.workflow_id,
            key.run_id,
            CompleteActivity(token, request),
            lambda transaction: work(transaction) and not exceeds_blob_limit(call, request.result),
        )
        if not kept and exceeds_blob_limit(call, request.result):
            raise invalid("Complete result exceeds size limit.")
        return kept

    async def failed(
        self, request: service.RespondActivityTaskFailedRequest, call: Call
    ) -> service.RespondActivityTaskFailedResponse:
        """RespondActivityTaskFailed. A failure beyond the blob limit is replaced by one that says so."""
        await self.fail(token_of(call, TaskKind.ACTIVITY), request, call)
        return service.RespondActivityTaskFailedResponse()

    async def fail(self, token: TaskToken, request: service.RespondActivityTaskFailedRequest, call: Call) -> None:
        """As `failed`, whatever names the activity."""
        if request.HasField("failure") and request.failure.WhichOneof("failure_info") is None:
            raise invalid("Failure must have ApplicationFailureInfo.")
        if exceeds_blob_limit(call, request.failure):
            request = service.RespondActivityTaskFailedRequest(
                task_token=request.task_token,
                identity=request.identity,
                failure=_server_failure("Failure exceeds size limit.", non_retryable=False),
            )
        await self._submit(token, FailActivity(token, request))

    async def canceled(
        self, request: service.RespondActivityTaskCanceledRequest, call: Call
    ) -> service.RespondActivityTaskCanceledResponse:
        """RespondActivityTaskCanceled."""
        await self.report_canceled(token_of(call, TaskKind.ACTIVITY), request, call)
        return service.RespondActivityTaskCanceledResponse()

    async def report_canceled(
        self, token: TaskToken, request: service.RespondActivityTaskCanceledRequest, call: Call
    ) -> None:
        """As `canceled`, whatever names the activity."""
        if exceeds_blob_limit(call, request.details):
            await self._fail(token, request.identity, "Cancel details exceed size limit.")
        else:
            await self._submit(token, ReportActivityCanceled(token, request))

    async def heartbeat(
        self, request: service.RecordActivityTaskHeartbeatRequest, call: Call
    ) -> service.RecordActivityTaskHeartbeatResponse:
        """RecordActivityTaskHeartbeat. Details beyond the blob limit fail the activity: it is told to cancel."""
        return await self.beat(token_of(call, TaskKind.ACTIVITY), request, call)

    async def beat(
        self, token: TaskToken, request: service.RecordActivityTaskHeartbeatRequest, call: Call
    ) -> service.RecordActivityTaskHeartbeatResponse:
        """As `heartbeat`, whatever names the activity."""
        if exceeds_blob_limit(call, request.details):
            await self._fail(token, request.identity, "Heartbeat details exceed size limit.")
            return service.RecordActivityTaskHeartbeatResponse(cancel_requested=True)
        recorded: HeartbeatRecorded = await self._submit(token, RecordHeartbeat(token, request))
        return service.RecordActivityTaskHeartbeatResponse(
            cancel_requested=recorded.cancel_requested,
            activity_paused=recorded.is_paused,
            activity_reset=recorded.is_reset,
        )

    def _submit(self, token: TaskToken, command: ActivityAnswer) -> Future[Any]:
        key = token.key
        return self._engine.submit(key.namespace, key.workflow_id, key.run_id or None, command)

    async def _fail(self, token: TaskToken, identity: str, message: str) -> None:
        failure = _server_failure(message, non_retryable=True)
        request = service.RespondActivityTaskFailedRequest(identity=identity, failure=failure)
        await self._submit(token, FailActivity(token, request))


ActivityAnswer = CompleteActivity | FailActivity | ReportActivityCanceled | RecordHeartbeat


def _server_failure(message: str, *, non_retryable: bool) -> Failure:
    failure = Failure(message=message, source="Server")
    failure.server_failure_info.non_retryable = non_retryable
    return failure
