"""How long calls wait, and what becomes of a task whose poller has left."""

from __future__ import annotations

import asyncio

from temporalio.api.workflowservice import v1 as service

from tests.engine.world import CLOSE_EVENT, activity_poll, history_request, start_request, workflow_poll
from tests.server.given import CODE, World, served


@served
async def test_a_poll_ends_before_its_client_gives_up(world: World) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    calls = [
        world.client.call("PollWorkflowTaskQueue", workflow_poll(), timeout=2.1),
        world.client.call("PollActivityTaskQueue", activity_poll(), timeout=2.1),
    ]
    for response in await asyncio.gather(*calls):
        assert not response.task_token
    assert loop.time() - begin < 2.1


@served
async def test_a_poll_with_hardly_any_time_is_refused(world: World) -> None:
    error = await world.client.refusal("PollWorkflowTaskQueue", workflow_poll(), timeout=1.5)
    assert (error.code(), error.details()) == (CODE.FAILED_PRECONDITION, "Context timeout is too short.")


@served
async def test_a_reader_of_history_is_told_in_time_to_ask_again(world: World) -> None:
    await world.client.call("StartWorkflowExecution", start_request())
    request = history_request(wait_new_event=True, history_event_filter_type=CLOSE_EVENT)
    page = await world.client.call("GetWorkflowExecutionHistory", request, timeout=1.2)
    assert not page.history.events
    assert page.next_page_token


@served
async def test_a_poll_that_is_cancelled_takes_no_task_with_it(world: World) -> None:
    gone = world.client.call("PollWorkflowTaskQueue", workflow_poll())
    await world.engine.matching.polls.reached(1)
    (poller,) = world.polls()
    gone.cancel()
    await asyncio.wait([poller.answer])
    await world.client.call("StartWorkflowExecution", start_request())
    task = await world.client.call("PollWorkflowTaskQueue", workflow_poll(), timeout=10)
    assert task.task_token
    assert task.attempt == 1


@served
async def test_the_polls_of_a_worker_end_when_it_shuts_down(world: World) -> None:
    request = workflow_poll()
    request.worker_instance_key = "worker-1"
    polling = world.client.call("PollWorkflowTaskQueue", request)
    await world.engine.matching.polls.reached(1)
    shutdown = service.ShutdownWorkerRequest(namespace="default", worker_instance_key="worker-1")
    await world.client.call("ShutdownWorker", shutdown)
    assert not (await polling).task_token
    late = await world.client.call("PollWorkflowTaskQueue", request)
    assert not late.task_token, "a poll that was on its way when the worker shut down"


@served
async def test_a_starter_that_is_a_worker_gets_the_first_task_at_once(world: World) -> None:
    started = await world.client.call("StartWorkflowExecution", start_request(request_eager_execution=True))
    task = started.eager_workflow_task
    assert task.started_event_id == 3
    first = task.history.events[0].workflow_execution_started_event_attributes
    assert first.eager_execution_accepted
