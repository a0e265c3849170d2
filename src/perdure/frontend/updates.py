"""Updates: ask a workflow for something and wait for its answer; also together with its start."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import UpdateWorkflowExecutionLifecycleStage
from temporalio.api.update.v1 import Outcome
from temporalio.api.workflowservice import v1 as service

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.core.admission import multi_operation_failure, standing, standing_if_known
from perdure.core.close import next_run_id
from perdure.core.commands import AdmitUpdate, UpdateWithStart
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.core.replies import Started, UpdateStanding
from perdure.core.update import aborted, closed_outcome
from perdure.engine.engine import Engine
from perdure.engine.feed.updates import UpdateWait
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_execution, found, invalid, naming
from perdure.frontend.workflows import start_response

Stage = UpdateWorkflowExecutionLifecycleStage.ValueType


class Updates:
    """The RPCs of updates. Whoever waits longer than `EngineConfig.update_wait_ns` is told how far it has come."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def update(
        self, request: service.UpdateWorkflowExecutionRequest, call: Call
    ) -> service.UpdateWorkflowExecutionResponse:
        """UpdateWorkflowExecution: answered at the stage that `wait_policy` names (unspecified: COMPLETED).

        The same update id again is the same update. A rejection is an outcome. Raises Rejected NOT_FOUND,
        FAILED_PRECONDITION, RESOURCE_EXHAUSTED, UNAVAILABLE, INVALID_ARGUMENT.
        """
        engine = self._engine
        target = request.workflow_execution
        check_execution(call, target, request.HasField("workflow_execution"))
        request = self._with_id(request)
        stage = request.wait_policy.lifecycle_stage or enums.UPDATE_COMPLETED
        update_id = request.request.meta.update_id
        with engine.updates.wait(request.namespace, target.workflow_id, update_id) as wait:
            with naming(target.workflow_id, target.run_id):
                admitted: UpdateStanding = await engine.submit(
                    request.namespace, target.workflow_id, target.run_id, AdmitUpdate(request)
                )
            return await self._response(request.namespace, target.workflow_id, admitted, wait, stage)

    async def poll(
        self, request: service.PollWorkflowExecutionUpdateRequest, call: Call
    ) -> service.PollWorkflowExecutionUpdateResponse:
        """PollWorkflowExecutionUpdate: as the update's own wait; with no stage to wait for, answered at once.

        Raises Rejected NOT_FOUND when no such update is known.
        """
        engine, reference = self._engine, request.update_ref
        target = reference.workflow_execution
        check_execution(call, target)

        def look(execution: Execution | None) -> UpdateStanding:
            return standing(found(execution, target.workflow_id, target.run_id), reference.update_id)

        with engine.updates.wait(request.namespace, target.workflow_id, reference.update_id) as wait:
            now = await engine.read(request.namespace, target.workflow_id, target.run_id, look)
            stage = request.wait_policy.lifecycle_stage
            answer = await self._response(request.namespace, target.workflow_id, now, wait, stage)
        response = service.PollWorkflowExecutionUpdateResponse(stage=answer.stage, update_ref=answer.update_ref)
        if answer.HasField("outcome"):
            response.outcome.CopyFrom(answer.outcome)
        return response

    async def multi(
        self, request: service.ExecuteMultiOperationRequest, call: Call
    ) -> service.ExecuteMultiOperationResponse:
        """ExecuteMultiOperation: a start and an update of the same workflow, in one transaction.

        Raises Rejected with a `MultiOperationExecutionFailure`, INVALID_ARGUMENT.
        """
        engine = self._engine
        start, update = _operations(request)
        update = self._with_id(update)
        stage = update.wait_policy.lifecycle_stage or enums.UPDATE_COMPLETED
        update_id = update.request.meta.update_id
        with engine.updates.wait(request.namespace, start.workflow_id, update_id) as wait:
            begun: tuple[Started, UpdateStanding] = await engine.submit(
                request.namespace, start.workflow_id, None, UpdateWithStart(start, update)
            )
            started, admitted = begun
            try:
                answer = await self._response(request.namespace, start.workflow_id, admitted, wait, stage)
            except Rejected as refused:
                raise multi_operation_failure([None, refused]) from refused
        response = service.ExecuteMultiOperationResponse()
        response.responses.add(
            start_workflow=start_response(started, request.namespace, start.workflow_id, start.request_id)
        )
        response.responses.add(update_workflow=answer)
        return response

    def _with_id(self, request: service.UpdateWorkflowExecutionRequest) -> service.UpdateWorkflowExecutionRequest:
        """An update without an id gets one: it can then be told apart, if not repeated."""
        if request.request.meta.update_id or not request.request.HasField("meta"):
            return request
        named = service.UpdateWorkflowExecutionRequest()
        named.CopyFrom(request)
        named.request.meta.update_id = self._engine.new_id()
        return named

    async def _response(
        self, namespace: str, workflow_id: str, now: UpdateStanding, wait: UpdateWait, stage: Stage
    ) -> service.UpdateWorkflowExecutionResponse:
        """Wait until the update is as far as `stage`, or as long as a wait may last."""
        engine = self._engine
        key = ExecutionKey(namespace, workflow_id, now.run_id)
        loop = asyncio.get_running_loop()
        config = engine.config
        # Not ended before the caller's own deadline, unlike other waits: Temporal's server lets that pass, and clients
        # take an early answer without an outcome for "ask again", for ever.
        deadline = loop.time() + config.update_wait_ns / 1e9
        while True:
            news = wait.heard(now.run_id)
            if news is not None:
                if news.refusal is not None:
                    refusal = news.refusal
                    raise refusal.copy()
                if news.stage >= stage:
                    return _update_response(key, now.update_id, news.stage, news.outcome)
            if now.stage >= stage:
                return _update_response(key, now.update_id, now.stage, await self._outcome(key, now))
            left_s = deadline - loop.time()
            if left_s <= 0 or not engine.is_started:
                reached = max(now.stage, news.stage if news is not None else 0)
                return _update_response(key, now.update_id, reached, None)
            await wait.pause(left_s)
            if wait.must_look() and wait.heard(now.run_id) is None:
                now = await self._look_again(key, now.update_id)

    async def _look_again(self, key: ExecutionKey, update_id: str) -> UpdateStanding:
        """Where the update stands now, after what another node did.

        Raises Rejected when it is gone: as its run's end tells those who wait, or UNAVAILABLE when the run goes on, and
        has rejected or dropped it. Why, another node said and nobody heard; who asks again is told anew.
        """

        def look(execution: Execution | None) -> UpdateStanding | int:
            known = found(execution, key.workflow_id, key.run_id)
            now = standing_if_known(known, update_id)
            if now is None:
                return 0 if known.is_open else known.next_event_id - 1
            return now

        now = await self._engine.read(key.namespace, key.workflow_id, key.run_id, look)
        if isinstance(now, UpdateStanding):
            return now
        if now == 0:
            raise Rejected(StatusCode.UNAVAILABLE, "What became of the update was lost between two nodes: ask again.")
        end = await self._engine.histories.event(key, now)
        raise aborted(continues=bool(next_run_id(end)))

    async def _outcome(self, key: ExecutionKey, now: UpdateStanding) -> Outcome | None:
        if now.stage != enums.UPDATE_COMPLETED:
            return None
        if not now.completed_event_id:
            return closed_outcome()
        event = await self._engine.histories.event(key, now.completed_event_id)
        return event.workflow_execution_update_completed_event_attributes.outcome


def _operations(
    request: service.ExecuteMultiOperationRequest,
) -> tuple[service.StartWorkflowExecutionRequest, service.UpdateWorkflowExecutionRequest]:
    """Raises Rejected INVALID_ARGUMENT unless it is a start and an update of the same workflow."""
    kinds = [operation.WhichOneof("operation") for operation in request.operations]
    if kinds != ["start_workflow", "update_workflow"]:
        raise invalid("Operations have to be exactly [Start, Update].")
    start, update = request.operations[0].start_workflow, request.operations[1].update_workflow
    if start.namespace != request.namespace or update.namespace != request.namespace:
        raise invalid("Operations have to be in the namespace of the request.")
    if update.workflow_execution.workflow_id != start.workflow_id:
        raise invalid("Operations have to be for the same Workflow ID.")
    if update.workflow_execution.run_id:
        raise invalid("RunId is not allowed.")
    if start.cron_schedule or start.request_eager_execution or start.HasField("workflow_start_delay"):
        raise invalid("CronSchedule, RequestEagerExecution and WorkflowStartDelay are not allowed.")
    if not start.workflow_id_conflict_policy:
        raise invalid("WorkflowIdConflictPolicy is required.")
    return start, update


def _update_response(
    key: ExecutionKey, update_id: str, stage: int, outcome: Outcome | None
) -> service.UpdateWorkflowExecutionResponse:
    response = service.UpdateWorkflowExecutionResponse(stage=stage)  # pyright: ignore[reportArgumentType] - its number
    reference = response.update_ref
    reference.update_id = update_id
    reference.workflow_execution.workflow_id = key.workflow_id
    reference.workflow_execution.run_id = key.run_id
    if outcome is not None:
        response.outcome.CopyFrom(outcome)
    return response
