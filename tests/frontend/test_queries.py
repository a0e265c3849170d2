"""Queries: asked of whoever has the workflow, answered once, never in history."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.enums.v1 import QueryResultType
from temporalio.api.errordetails.v1 import QueryFailedFailure, WorkflowNotReadyFailure
from temporalio.api.query.v1 import WorkflowQueryResult
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.names import ExecutionKey
from perdure.frontend import WorkflowService
from perdure.testing import VirtualClock
from tests.engine.world import QUEUE, World, complete, completion, history, start_request, virtual, workflow_poll
from tests.frontend.test_signals import refusal, signal_request

Task = service.PollWorkflowTaskQueueResponse


def query_request(**fields: Any) -> service.QueryWorkflowRequest:
    request = service.QueryWorkflowRequest(namespace="default", **fields)
    request.execution.workflow_id = "order-1"
    request.query.query_type = "state"
    return request


def answer(task: Task, **fields: Any) -> service.RespondQueryTaskCompletedRequest:
    request = service.RespondQueryTaskCompletedRequest(
        task_token=task.task_token,
        namespace="default",
        completed_type=QueryResultType.QUERY_RESULT_TYPE_ANSWERED,
        **fields,
    )
    request.query_result.payloads.add(data=b'"paid"')
    return request


class Asked:
    """A query under way."""

    def __init__(self, connection: WorkflowService, **fields: Any) -> None:
        self.call = asyncio.ensure_future(connection.query_workflow(query_request(**fields)))

    async def data(self) -> bytes:
        return (await self.call).query_result.payloads[0].data


async def asked(connection: WorkflowService, **fields: Any) -> Asked:
    """Asked, and on its way."""
    query = Asked(connection, **fields)
    await asyncio.sleep(0.01)
    return query


async def first_task(connection: WorkflowService) -> Task:
    await connection.start_workflow_execution(start_request())
    return await connection.poll_workflow_task_queue(workflow_poll())


async def idle(connection: WorkflowService, sticky: str = "") -> None:
    """A workflow that waits for nothing in particular."""
    task = await first_task(connection)
    await connection.respond_workflow_task_completed(completion(task.task_token, sticky=sticky))


@virtual
async def test_an_idle_workflow_is_asked_by_a_task_of_its_own(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await idle(connection)
        before = await history(connection)
        query = await asked(connection)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert (task.query.query_type, task.previous_started_event_id, task.started_event_id) == ("state", 3, 0)
        assert [event.event_id for event in task.history.events] == [1, 2, 3, 4]
        await connection.respond_query_task_completed(answer(task))
        assert await query.data() == b'"paid"'
        assert await history(connection) == before
        late = await refusal(connection.respond_query_task_completed(answer(task)))
        assert late.code is StatusCode.NOT_FOUND


@virtual
async def test_a_poller_that_waits_is_asked_at_once(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await idle(connection)
        poll = asyncio.ensure_future(connection.poll_workflow_task_queue(workflow_poll()))
        query = await asked(connection)
        await connection.respond_query_task_completed(answer(await poll))
        assert await query.data() == b'"paid"'


@virtual
async def test_a_query_goes_with_the_workflow_task_that_is_owed(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        query = await asked(connection)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        [query_id] = task.queries
        result = WorkflowQueryResult(result_type=QueryResultType.QUERY_RESULT_TYPE_ANSWERED)
        result.answer.payloads.add(data=b'"new"')
        done = completion(task.task_token)
        done.query_results[query_id].CopyFrom(result)
        await connection.respond_workflow_task_completed(done)
        assert await query.data() == b'"new"'


@virtual
async def test_a_query_sees_the_signal_that_was_acknowledged_before_it(world: World) -> None:
    """It was asked while a task ran, which knows nothing of the signal: it goes with the next."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await first_task(connection)
        await connection.signal_workflow_execution(signal_request())
        query = await asked(connection)
        await connection.respond_workflow_task_completed(completion(task.task_token))
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert len(task.queries) == 1
        await connection.respond_workflow_task_completed(completion(task.task_token))
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert task.query.query_type == "state", "the worker left it unanswered: it is asked alone"
        await connection.respond_query_task_completed(answer(task))
        assert await query.data() == b'"paid"'


@virtual
async def test_what_a_refused_completion_answered_is_asked_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        query = await asked(connection)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.signal_workflow_execution(signal_request())
        done = completion(task.task_token, complete())
        for query_id in task.queries:
            done.query_results[query_id].result_type = QueryResultType.QUERY_RESULT_TYPE_ANSWERED
        assert (await refusal(connection.respond_workflow_task_completed(done))).message == "UnhandledCommand"
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert len(task.queries) == 1
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_query_task_completed(answer(task))
        assert await query.data() == b'"paid"'


@virtual
async def test_what_a_completion_answered_that_was_refused_after_the_run_went_on_is_asked_again(world: World) -> None:
    """While the answer is being committed the task ends without it, and none is owed: the question goes alone."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await first_task(connection)
        query = await asked(connection)
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        [query_id] = engine.queries.waiting[task.workflow_execution.run_id]
        key = ExecutionKey("default", "order-1", task.workflow_execution.run_id)
        results = {query_id: WorkflowQueryResult(result_type=QueryResultType.QUERY_RESULT_TYPE_ANSWERED)}
        answered = asyncio.ensure_future(engine.queries.answered_by(key, committed, results))
        await asyncio.sleep(0)
        await connection.respond_workflow_task_completed(completion(task.task_token))
        committed.set_exception(Rejected(StatusCode.UNAVAILABLE, "the store is away"))
        assert (await refusal(answered)).code is StatusCode.UNAVAILABLE
        began = world.loop.time()
        alone = await connection.poll_workflow_task_queue(workflow_poll())
        assert world.loop.time() == began, "at once, not at the next news of the run"
        assert alone.query.query_type == "state"
        await connection.respond_query_task_completed(answer(alone))
        assert await query.data() == b'"paid"'


@virtual
async def test_the_handlers_failure_is_the_callers(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await idle(connection)
        query = await asked(connection)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        failed = answer(task, error_message="no such query")
        failed.completed_type = QueryResultType.QUERY_RESULT_TYPE_FAILED
        failed.failure.message = "unknown"
        await connection.respond_query_task_completed(failed)
        rejected = await refusal(query.call)
        assert (rejected.code, rejected.message) == (StatusCode.INVALID_ARGUMENT, "no such query")
        assert isinstance(rejected.detail, QueryFailedFailure)
        assert rejected.detail.failure.message == "unknown"


@virtual
async def test_the_worker_that_has_the_workflow_is_asked_first_and_needs_no_history(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await first_task(connection)
        poll = asyncio.ensure_future(connection.poll_workflow_task_queue(workflow_poll("mine", QUEUE)))
        await asyncio.sleep(0)
        await connection.respond_workflow_task_completed(completion(task.task_token, sticky="mine"))
        query = await asked(connection)
        task = await poll
        assert task.query.query_type == "state"
        assert not task.history.events
        assert task.HasField("history"), "official SDKs take a task without this field for a broken one"
        await connection.respond_query_task_completed(answer(task))
        assert await query.data() == b'"paid"'


@virtual
async def test_a_sticky_worker_that_does_not_come_is_replaced(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await first_task(connection)
        poll = asyncio.ensure_future(connection.poll_workflow_task_queue(workflow_poll("mine", QUEUE)))
        await asyncio.sleep(0)
        await connection.respond_workflow_task_completed(completion(task.task_token, sticky="mine"))
        poll.cancel()
        began = VirtualClock(world.loop).now_ns()
        query = await asked(connection)
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert VirtualClock(world.loop).now_ns() - began == 5_000_000_000
        assert len(task.history.events) == 4
        await connection.respond_query_task_completed(answer(task))
        assert await query.data() == b'"paid"'


@virtual
async def test_a_closed_workflow_answers_unless_the_caller_minds(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        task = await first_task(connection)
        await connection.respond_workflow_task_completed(completion(task.task_token, complete()))
        not_open = await connection.query_workflow(
            query_request(query_reject_condition="QUERY_REJECT_CONDITION_NOT_OPEN")
        )
        assert not_open.query_rejected.status == 2
        query = await asked(connection, query_reject_condition="QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY")
        task = await connection.poll_workflow_task_queue(workflow_poll())
        assert len(task.history.events) == 5
        await connection.respond_query_task_completed(answer(task))
        assert await query.data() == b'"paid"'


@virtual
async def test_what_cannot_be_asked_now_is_said(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        nobody = await refusal(connection.query_workflow(query_request()))
        assert (nobody.code, nobody.message) == (StatusCode.NOT_FOUND, "workflow not found for ID: order-1")
        nameless = query_request()
        nameless.query.query_type = ""
        assert (await refusal(connection.query_workflow(nameless))).code is StatusCode.INVALID_ARGUMENT
        delayed = start_request()
        delayed.workflow_start_delay.seconds = 60
        await connection.start_workflow_execution(delayed)
        early = await refusal(connection.query_workflow(query_request()))
        assert (early.code, type(early.detail)) == (StatusCode.FAILED_PRECONDITION, WorkflowNotReadyFailure)
        for _ in range(2):
            task = await connection.poll_workflow_task_queue(workflow_poll())
            while not task.task_token:
                task = await connection.poll_workflow_task_queue(workflow_poll())
            await connection.respond_workflow_task_failed(
                service.RespondWorkflowTaskFailedRequest(task_token=task.task_token)
            )
        failing = await refusal(connection.query_workflow(query_request()))
        assert failing.message == "Unable to query workflow due to Workflow Task in failed state."


@virtual
async def test_who_waits_for_a_task_that_then_fails_and_fails_is_told(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        query = asyncio.create_task(connection.query_workflow(query_request()))
        for attempt in (1, 2):
            task = await connection.poll_workflow_task_queue(workflow_poll())
            while not task.task_token:
                task = await connection.poll_workflow_task_queue(workflow_poll())
            assert task.attempt == attempt
            assert not query.done()
            await connection.respond_workflow_task_failed(
                service.RespondWorkflowTaskFailedRequest(task_token=task.task_token)
            )
        failing = await refusal(query)
        assert (failing.code, type(failing.detail)) == (StatusCode.FAILED_PRECONDITION, WorkflowNotReadyFailure)
        assert failing.message == "Unable to query workflow due to Workflow Task in failed state."


@virtual
async def test_nobody_answers(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await idle(connection)
        gone = await asked(connection)
        gone.call.cancel()
        silent = await refusal(connection.query_workflow(query_request()))
        assert silent.code is StatusCode.DEADLINE_EXCEEDED
        waiting = await asked(connection)
    assert (await refusal(waiting.call)).code is StatusCode.UNAVAILABLE


@virtual
async def test_a_poller_that_leaves_with_the_question_leaves_it_to_the_next(world: World) -> None:
    """Wherever it leaves: before the question reached it, with it in hand, or never."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await idle(connection)
        for turns in range(12):
            poll = asyncio.ensure_future(connection.poll_workflow_task_queue(workflow_poll()))
            query = Asked(connection)
            for _ in range(turns):
                await asyncio.sleep(0)
            if poll.done():
                task = poll.result()
            else:
                poll.cancel()
                task = await connection.poll_workflow_task_queue(workflow_poll())
            await connection.respond_query_task_completed(answer(task))
            assert await query.data() == b'"paid"'
