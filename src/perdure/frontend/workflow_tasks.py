"""Workflow tasks: poll, completed, failed."""

from __future__ import annotations

import logging
from functools import partial

from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected
from perdure.core.commands import CompleteWorkflowTask, FailWorkflowTask
from perdure.core.commit import QueueName, StartedWorkflowTask, TaskKind, WorkflowTaskCompleted
from perdure.engine.engine import Engine
from perdure.engine.query_task import QueryTask
from perdure.frontend.edge import check_length, check_namespace, check_queue, token_of
from perdure.frontend.queries import query_task_response
from perdure.frontend.responses import activity_task_response, workflow_task_response
from perdure.frontend.waits import bounded_poll, if_undelivered

_log = logging.getLogger(__name__)


class WorkflowTasks:
    """The RPCs of workflow workers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def poll(self, request: service.PollWorkflowTaskQueueRequest) -> service.PollWorkflowTaskQueueResponse:
        """PollWorkflowTaskQueue: waits for a task; an empty response when none came in time."""
        engine, queue = self._engine, request.task_queue
        check_namespace(engine, request.namespace)
        check_queue(queue.name)
        check_length("Identity", request.identity)
        polled = await engine.poll(
            QueueName(request.namespace, queue.name, TaskKind.WORKFLOW),
            request.identity,
            bounded_poll(engine.config.long_poll_ns),
            request.worker_instance_key,
        )
        if polled is None:
            return service.PollWorkflowTaskQueueResponse()
        task, waiting = polled
        try:
            if isinstance(task, QueryTask):
                return await query_task_response(engine, task)
            assert isinstance(task, StartedWorkflowTask)
            response = await workflow_task_response(engine, task)
        except BaseException:  # also when the caller goes away meanwhile
            engine.matching.give_back(waiting, task)
            raise
        if_undelivered(partial(engine.matching.give_back, waiting, task))
        suggestion = engine.matching.scaling(waiting)
        if suggestion:
            response.poller_scaling_decision.poll_request_delta_suggestion = suggestion
        return response

    async def completed(
        self, request: service.RespondWorkflowTaskCompletedRequest
    ) -> service.RespondWorkflowTaskCompletedResponse:
        """RespondWorkflowTaskCompleted. Raises Rejected NOT_FOUND when the task is not this worker's any more."""
        engine = self._engine
        token = token_of(engine, request.task_token, request.namespace, TaskKind.WORKFLOW)
        key = token.key
        results = request.query_results
        if results:
            engine.queries.expect(results, True)
        try:
            done: WorkflowTaskCompleted = await engine.submit(
                key.namespace, key.workflow_id, key.run_id, CompleteWorkflowTask(token, request)
            )
        except BaseException:
            engine.queries.expect(results, False)
            raise
        if results:
            engine.queries.answer_attached(results)
        response = service.RespondWorkflowTaskCompletedResponse()
        if done.reset_history_event_id:
            response.reset_history_event_id = done.reset_history_event_id
        if done.workflow_task is not None or done.activity_tasks:
            await self._attach(response, done)
        return response

    async def _attach(
        self, response: service.RespondWorkflowTaskCompletedResponse, done: WorkflowTaskCompleted
    ) -> None:
        """What the worker gets in the same breath. The completion stands even if that cannot be read now."""
        engine = self._engine
        try:
            if done.workflow_task is not None:
                response.workflow_task.CopyFrom(await workflow_task_response(engine, done.workflow_task))
            for task in done.activity_tasks:
                response.activity_tasks.append(await activity_task_response(engine, task))
        except Rejected as error:
            _log.warning("tasks that were to go out with a completion are left to their time-outs: %s", error)

    async def failed(
        self, request: service.RespondWorkflowTaskFailedRequest
    ) -> service.RespondWorkflowTaskFailedResponse:
        """RespondWorkflowTaskFailed. Raises Rejected NOT_FOUND when the task is not this worker's any more."""
        token = token_of(self._engine, request.task_token, request.namespace, TaskKind.WORKFLOW)
        key = token.key
        await self._engine.submit(key.namespace, key.workflow_id, key.run_id, FailWorkflowTask(token, request))
        return service.RespondWorkflowTaskFailedResponse()
