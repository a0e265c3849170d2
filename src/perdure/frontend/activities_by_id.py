"""Answers about an activity from whoever knows its workflow and its id: a service that was called back, an operator."""

from __future__ import annotations

from temporalio.api.workflowservice import v1 as service

from perdure.core.names import ExecutionKey, TaskKind
from perdure.core.tokens import TaskToken
from perdure.engine.engine import Engine
from perdure.frontend.activity_tasks import ActivityTasks
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_ids, check_length, invalid, naming


class ActivitiesById:
    """The RPCs ...ById. Each raises Rejected NOT_FOUND when no such activity is pending (but for a completion:
    or no worker has it), INVALID_ARGUMENT."""

    def __init__(self, engine: Engine, tasks: ActivityTasks) -> None:
        self._engine = engine
        self._tasks = tasks

    async def completed(
        self, request: service.RespondActivityTaskCompletedByIdRequest, call: Call
    ) -> service.RespondActivityTaskCompletedByIdResponse:
        """RespondActivityTaskCompletedById: also before a worker has taken it."""
        token = self._token(call, request.namespace, request.workflow_id, request.run_id, request.activity_id)
        answer = service.RespondActivityTaskCompletedRequest(identity=request.identity)
        if request.HasField("result"):
            answer.result.CopyFrom(request.result)
        with naming(request.workflow_id, request.run_id):
            await self._tasks.complete(token, answer, call)
        return service.RespondActivityTaskCompletedByIdResponse()

    async def failed(
        self, request: service.RespondActivityTaskFailedByIdRequest, call: Call
    ) -> service.RespondActivityTaskFailedByIdResponse:
        """RespondActivityTaskFailedById: the attempt failed; it is tried again as its policy says."""
        token = self._token(call, request.namespace, request.workflow_id, request.run_id, request.activity_id)
        answer = service.RespondActivityTaskFailedRequest(identity=request.identity)
        if request.HasField("failure"):
            answer.failure.CopyFrom(request.failure)
        if request.HasField("last_heartbeat_details"):
            answer.last_heartbeat_details.CopyFrom(request.last_heartbeat_details)
        with naming(request.workflow_id, request.run_id):
            await self._tasks.fail(token, answer, call)
        return service.RespondActivityTaskFailedByIdResponse()

    async def canceled(
        self, request: service.RespondActivityTaskCanceledByIdRequest, call: Call
    ) -> service.RespondActivityTaskCanceledByIdResponse:
        """RespondActivityTaskCanceledById. Raises Rejected INVALID_ARGUMENT when nobody asked for it."""
        token = self._token(call, request.namespace, request.workflow_id, request.run_id, request.activity_id)
        answer = service.RespondActivityTaskCanceledRequest(identity=request.identity)
        if request.HasField("details"):
            answer.details.CopyFrom(request.details)
        with naming(request.workflow_id, request.run_id):
            await self._tasks.report_canceled(token, answer, call)
        return service.RespondActivityTaskCanceledByIdResponse()

    async def heartbeat(
        self, request: service.RecordActivityTaskHeartbeatByIdRequest, call: Call
    ) -> service.RecordActivityTaskHeartbeatByIdResponse:
        """RecordActivityTaskHeartbeatById."""
        token = self._token(call, request.namespace, request.workflow_id, request.run_id, request.activity_id)
        beat = service.RecordActivityTaskHeartbeatRequest(identity=request.identity)
        if request.HasField("details"):
            beat.details.CopyFrom(request.details)
        with naming(request.workflow_id, request.run_id):
            recorded = await self._tasks.beat(token, beat, call)
        return service.RecordActivityTaskHeartbeatByIdResponse(
            cancel_requested=recorded.cancel_requested,
            activity_paused=recorded.activity_paused,
            activity_reset=recorded.activity_reset,
        )

    def _token(self, call: Call, namespace: str, workflow_id: str, run_id: str, activity_id: str) -> TaskToken:
        check_ids(call, workflow_id, run_id)
        if not activity_id:
            raise invalid("ActivityId is not set on request.")
        check_length(call, "ActivityId", activity_id)
        return TaskToken(ExecutionKey(namespace, workflow_id, run_id), TaskKind.ACTIVITY, 0, 0, activity_id)
