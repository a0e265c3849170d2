"""Workflow tasks: poll, completed, failed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from temporalio.api.workflowservice import v1 as service

from perdure.core.commands import CompleteWorkflowTask, FailWorkflowTask
from perdure.core.names import QueueName, TaskKind
from perdure.core.replies import WorkflowTaskCompleted
from perdure.core.started import StartedActivityTask, StartedWorkflowTask
from perdure.engine.engine import Engine
from perdure.engine.matching.query_task import QueryTask
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_length, check_numbers, check_queue, token_of
from perdure.frontend.queries import query_task_response
from perdure.frontend.responses import activity_task_response, workflow_task_response
from perdure.frontend.unfit import fail, is_passing, set_aside

_log = logging.getLogger(__name__)

Task = TypeVar("Task", StartedWorkflowTask, StartedActivityTask)
Response = TypeVar("Response")


class WorkflowTasks:
    """The RPCs of workflow workers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def poll(
        self, request: service.PollWorkflowTaskQueueRequest, call: Call
    ) -> service.PollWorkflowTaskQueueResponse:
        """PollWorkflowTaskQueue: waits for a task; an empty response when none came in time."""
        engine, queue = self._engine, request.task_queue
        check_queue(call, queue.name)
        check_length(call, "Identity", request.identity)
        polled = await engine.poll(
            QueueName(request.namespace, queue.name, TaskKind.WORKFLOW),
            request.identity,
            call.bounded_poll(engine.config.long_poll_ns),
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
        except BaseException as error:  # also when the caller goes away meanwhile
            if await set_aside(engine, waiting, task, error):
                raise
            return service.PollWorkflowTaskQueueResponse()
        call.if_undelivered(partial(engine.matching.give_back, waiting, task))
        suggestion = engine.matching.scaling(waiting)
        if suggestion:
            response.poller_scaling_decision.poll_request_delta_suggestion = suggestion
        return response

    async def completed(
        self, request: service.RespondWorkflowTaskCompletedRequest, call: Call
    ) -> service.RespondWorkflowTaskCompletedResponse:
        """RespondWorkflowTaskCompleted. Raises Rejected NOT_FOUND when the task is not this worker's any more."""
        engine = self._engine
        token = token_of(call, TaskKind.WORKFLOW)
        key = token.key
        answers = request.query_results
        if answers:
            for result in answers.values():
                check_numbers(result, engine.config.limits.entries)
        reply = engine.submit(key.namespace, key.workflow_id, key.run_id, CompleteWorkflowTask(token, request))
        if answers:
            reply = engine.queries.answered_by(key, reply, answers)
        done: WorkflowTaskCompleted = await reply
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
        if done.workflow_task is not None:
            workflow_task = await self._or_nothing(done.workflow_task, workflow_task_response)
            if workflow_task is not None:
                response.workflow_task.CopyFrom(workflow_task)
        for task in done.activity_tasks:
            activity_task = await self._or_nothing(task, activity_task_response)
            if activity_task is not None:
                response.activity_tasks.append(activity_task)

    async def _or_nothing(
        self, task: Task, put_together: Callable[[Engine, Task], Awaitable[Response]]
    ) -> Response | None:
        """None: it cannot be read now, or never, and then it failed."""
        try:
            return await put_together(self._engine, task)
        except Exception as error:
            if is_passing(error):
                _log.warning("a task that was to go out with a completion is left to its time-out: %s", error)
            else:
                await fail(self._engine, task, error)
            return None

    async def failed(
        self, request: service.RespondWorkflowTaskFailedRequest, call: Call
    ) -> service.RespondWorkflowTaskFailedResponse:
        """RespondWorkflowTaskFailed. Raises Rejected NOT_FOUND when the task is not this worker's any more."""
        token = token_of(call, TaskKind.WORKFLOW)
        key = token.key
        await self._engine.submit(key.namespace, key.workflow_id, key.run_id, FailWorkflowTask(token, request))
        return service.RespondWorkflowTaskFailedResponse()
