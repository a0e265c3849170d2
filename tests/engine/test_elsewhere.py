"""Questions asked at one node, and answered by a worker that polls another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
from temporalio.api.enums.v1 import QueryResultType
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import StatusCode
from perdure.core.names import QueueName, TaskKind
from perdure.engine import Engine, EngineConfig, NodeConfig
from perdure.engine.node.wire import LETTER
from perdure.frontend import WorkflowService
from perdure.stores.api import Hear, Store
from tests.engine.shared import Shared, at_once
from tests.engine.world import QUEUE, World, completion, start_request, virtual, workflow_poll
from tests.frontend.test_queries import Asked, answer, asked, first_task, idle
from tests.frontend.test_signals import refusal, signal_request

Post = Callable[[Hear, bytes | None], None]


class Node(WorkflowService):
    """An engine, and what it is asked through."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.engine = engine


@asynccontextmanager
async def nodes(world: World, count: int = 2, carry: Post = at_once) -> AsyncIterator[list[Node]]:
    """Some that have heard of one another."""
    shared = Shared(world.store, carry)
    config = EngineConfig(node=NodeConfig())
    made = [Engine(cast(Store, shared.face()), world.clock, world.ids, config) for _ in range(count)]
    for engine in made:
        await engine.start()
    await asyncio.sleep(3)
    yield [Node(engine) for engine in made]
    for engine in made:
        await engine.stop()


async def polled(node: Node, queue: str = QUEUE, normal: str = "") -> service.PollWorkflowTaskQueueResponse:
    """The next task of a worker of that node, which must come soon."""
    return await asyncio.wait_for(node.poll_workflow_task_queue(workflow_poll(queue, normal)), 5)


@virtual
async def test_a_worker_that_polls_another_node_is_asked(world: World) -> None:
    """F3."""
    async with nodes(world) as (here, there):
        await idle(there)
        poll = asyncio.ensure_future(polled(there))
        await asyncio.sleep(0.1)
        query = await asked(here)
        task = await poll
        assert (task.query.query_type, len(task.history.events)) == ("state", 4)
        await there.respond_query_task_completed(answer(task))
        assert await asyncio.wait_for(query.data(), 1) == b'"paid"'


@virtual
async def test_a_worker_that_comes_to_another_node_later_is_asked(world: World) -> None:
    async with nodes(world, 3) as (here, there, third):
        await idle(here)
        await asyncio.sleep(30)
        query = await asked(here)
        await asyncio.sleep(5)
        task = await polled(there)
        assert task.query.query_type == "state"
        await third.respond_query_task_completed(answer(task))
        assert await asyncio.wait_for(query.data(), 1) == b'"paid"', "wherever the worker says it"


@virtual
async def test_the_worker_that_has_the_workflow_is_asked_wherever_it_polls(world: World) -> None:
    async with nodes(world) as (here, there):
        await idle(there, sticky="sticky-1")
        poll = asyncio.ensure_future(polled(there, "sticky-1", QUEUE))
        await asyncio.sleep(0.1)
        query = await asked(here)
        task = await poll
        assert len(task.history.events) == 0, "it needs none"
        await there.respond_query_task_completed(answer(task))
        assert await query.data() == b'"paid"'


@virtual
async def test_a_worker_that_polls_another_node_is_not_taken_for_dead(world: World) -> None:
    """Its sticky queue is kept, and forgotten when it does not poll any more."""
    queue = QueueName("default", "sticky-1", TaskKind.WORKFLOW)
    async with nodes(world) as (here, there):
        poll = asyncio.ensure_future(polled(there, "sticky-1", QUEUE))
        await asyncio.sleep(0.1)
        assert here.engine.matching.polled_elsewhere(queue)
        poll.cancel()
        await asyncio.sleep(30)
        assert not here.engine.matching.polled_elsewhere(queue)


@virtual
async def test_a_question_that_waits_for_a_workflow_task_at_another_node_is_asked(world: World) -> None:
    async with nodes(world) as (here, there):
        running = await first_task(there)
        query = await asked(here)
        await there.respond_workflow_task_completed(completion(running.task_token))
        task = await polled(there)
        assert task.query.query_type == "state"
        await there.respond_query_task_completed(answer(task))
        assert await query.data() == b'"paid"'


@virtual
async def test_what_is_too_long_for_a_notice_arrives(world: World) -> None:
    async with nodes(world) as (here, there):
        await idle(there)
        request = service.QueryWorkflowRequest(namespace="default")
        request.execution.workflow_id = "order-1"
        request.query.query_type = "state"
        request.query.query_args.payloads.add(data=b"x" * 100_000)
        query = asyncio.ensure_future(here.query_workflow(request))
        task = await polled(there)
        assert task.query.query_args == request.query.query_args
        done = answer(task)
        done.query_result.payloads.add(data=b"y" * 1_000_000)
        await there.respond_query_task_completed(done)
        assert (await asyncio.wait_for(query, 1)).query_result == done.query_result
        assert list(await world.store.records(LETTER)) == []


@virtual
async def test_a_handler_that_fails_at_another_node_fails_the_caller(world: World) -> None:
    async with nodes(world) as (here, there):
        await idle(there)
        query = await asked(here)
        task = await polled(there)
        failed = answer(task, error_message="no such state")
        failed.completed_type = QueryResultType.QUERY_RESULT_TYPE_FAILED
        await there.respond_query_task_completed(failed)
        refused = await refusal(query.call)
        assert (refused.code, refused.message) == (StatusCode.INVALID_ARGUMENT, "no such state")


def losing(what: bytes, times: int) -> Post:
    """Loses what begins with it, so often."""
    left = [times]

    def carry(hear: Hear, notice: bytes | None) -> None:
        if notice is not None and what in notice and left[0]:
            left[0] -= 1
            return
        at_once(hear, notice)

    return carry


@pytest.mark.parametrize("lost", [b"question", b"answer"])
def test_what_was_lost_is_said_again(lost: bytes) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with nodes(world, carry=losing(b"\xa8question" if lost == b"question" else b"\xa6answer", 1)) as pair:
            here, there = pair
            await idle(there)
            query = await asked(here)
            task = await asyncio.wait_for(there.poll_workflow_task_queue(workflow_poll()), 10)
            await there.respond_query_task_completed(answer(task))
            assert await asyncio.wait_for(query.data(), 10) == b'"paid"'
            poll = asyncio.ensure_future(there.poll_workflow_task_queue(workflow_poll()))
            await asyncio.sleep(20)
            assert not poll.done(), "it was not asked twice"
            poll.cancel()

    scenario()


@virtual
async def test_a_node_that_dies_with_a_question_is_not_waited_for(world: World) -> None:
    async with nodes(world, 3) as (here, there, third):
        await idle(there)
        query = await asked(here)
        assert (await polled(there)).query.query_type == "state"
        await there.engine.abort()
        await asyncio.sleep(6)
        task = await polled(third)
        assert task.query.query_type == "state"
        await third.respond_query_task_completed(answer(task))
        assert await query.data() == b'"paid"'


@virtual
async def test_a_question_is_not_put_to_a_node_that_drains(world: World) -> None:
    """Nor left there: also one that it has not given to a worker yet goes to another."""
    async with nodes(world, 3) as (here, drains, third):
        await idle(drains)
        before = await asked(here)
        await asyncio.sleep(0.1)
        poll = asyncio.ensure_future(polled(third))
        await asyncio.sleep(0.1)
        await drains.engine.send_away()
        after = await asked(here)
        await third.respond_query_task_completed(answer(await poll))
        await third.respond_query_task_completed(answer(await polled(third)))
        assert await asyncio.wait_for(before.data(), 1) == await asyncio.wait_for(after.data(), 1) == b'"paid"'


@virtual
async def test_an_answer_to_what_nobody_asks_any_more_is_dropped(world: World) -> None:
    async with nodes(world) as (here, there):
        await idle(there)
        query = await asked(here)
        task = await polled(there)
        query.call.cancel()
        await asyncio.sleep(0.1)
        await there.respond_query_task_completed(answer(task))
        again: Asked = await asked(here)
        task = await polled(there)
        await there.respond_query_task_completed(answer(task))
        assert await again.data() == b'"paid"'


# --- questions that wait for a workflow task ------------------------------------------------------


async def never_idle(node: Node) -> service.PollWorkflowTaskQueueResponse:
    """A run of which a worker holds a workflow task, and is owed the next one as soon as it answers."""
    task = await first_task(node)
    await node.signal_workflow_execution(signal_request())
    return task


def with_answer(task: service.PollWorkflowTaskQueueResponse) -> service.RespondWorkflowTaskCompletedRequest:
    """The answer to a workflow task and to the one question that it brought."""
    [query_id] = task.queries
    done = completion(task.task_token)
    done.query_results[query_id].result_type = QueryResultType.QUERY_RESULT_TYPE_ANSWERED
    done.query_results[query_id].answer.payloads.add(data=b'"paid"')
    return done


@pytest.mark.parametrize("responder", [1, 2])
def test_a_question_to_a_run_that_is_never_idle_goes_with_a_task_of_another_node(responder: int) -> None:
    """Whichever node the worker answers."""

    @virtual
    async def scenario(world: World) -> None:
        async with nodes(world, 3) as trio:
            here, there = trio[0], trio[1]
            running = await never_idle(there)
            query = await asked(here)
            await asyncio.sleep(0.1)
            await there.respond_workflow_task_completed(completion(running.task_token))
            task = await polled(there)
            assert [asked.query_type for asked in task.queries.values()] == ["state"]
            await trio[responder].signal_workflow_execution(signal_request())
            await trio[responder].respond_workflow_task_completed(with_answer(task))
            assert await asyncio.wait_for(query.data(), 1) == b'"paid"'
            assert not (await polled(there)).queries, "it is not asked again"
            assert there.engine.queries.waiting == {}

    scenario()


@pytest.mark.parametrize("lost", [b"\xa8question", b"\xa6answer"])
def test_a_question_that_goes_with_a_task_is_said_again_when_it_was_lost(lost: bytes) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with nodes(world, carry=losing(lost, 1)) as (here, there):
            running = await never_idle(there)
            query = await asked(here)
            await asyncio.sleep(5)
            await there.respond_workflow_task_completed(completion(running.task_token))
            task = await polled(there)
            await there.signal_workflow_execution(signal_request())
            await there.respond_workflow_task_completed(with_answer(task))
            assert await asyncio.wait_for(query.data(), 5) == b'"paid"'

    scenario()


@virtual
async def test_a_question_that_nobody_asks_any_more_goes_with_no_task(world: World) -> None:
    async with nodes(world) as (here, there):
        running = await never_idle(there)
        query = await asked(here)
        await asyncio.sleep(0.1)
        assert there.engine.queries.waiting
        query.call.cancel()
        await asyncio.sleep(0.1)
        assert there.engine.queries.waiting == {}
        await there.respond_workflow_task_completed(completion(running.task_token))
        assert not (await polled(there)).queries


@virtual
async def test_a_worker_answers_for_its_own_run_alone_at_another_node_too(world: World) -> None:
    async with nodes(world) as (here, there):
        running = await never_idle(there)
        query = await asked(here)
        await asyncio.sleep(0.1)
        await there.respond_workflow_task_completed(completion(running.task_token))
        task = await polled(there)
        await there.start_workflow_execution(start_request("another"))
        other = await polled(there)
        assert not other.queries
        forged = completion(other.task_token)
        [query_id] = task.queries
        forged.query_results[query_id].result_type = QueryResultType.QUERY_RESULT_TYPE_ANSWERED
        forged.query_results[query_id].answer.payloads.add(data=b'"forged"')
        await there.respond_workflow_task_completed(forged)
        await asyncio.sleep(0.1)
        assert not query.call.done()
        await there.respond_workflow_task_completed(with_answer(task))
        assert await query.data() == b'"paid"'


# --- rows that any node may take ------------------------------------------------------------------


@virtual
async def test_nodes_do_not_race_for_the_rows_of_another(world: World) -> None:
    async with nodes(world, 4) as (writer, *others):
        polls = [asyncio.ensure_future(polled(node)) for node in others for _ in range(20)]
        await asyncio.sleep(1)
        before = sum(node.engine.metrics().row_starts for node in others)
        for number in range(30):
            await writer.start_workflow_execution(start_request(f"order-{number}"))
            await asyncio.sleep(0.05)
        taken = [poll.result().workflow_execution.workflow_id for poll in polls if poll.done()]
        assert sorted(taken) == sorted(f"order-{number}" for number in range(30))
        assert sum(node.engine.metrics().row_starts for node in others) - before == 30, "each is asked for once"
        assert sum(node.engine.metrics().conflicts for node in (writer, *others)) == 0
        for poll in polls:
            poll.cancel()


@virtual
async def test_a_row_that_the_first_node_does_not_take_is_taken_by_the_next_in_a_moment(world: World) -> None:
    async with nodes(world, 4) as (writer, *others):
        gone = [asyncio.ensure_future(polled(node)) for node in others[:2]]
        poll = asyncio.ensure_future(polled(others[2]))
        await asyncio.sleep(1)
        for one in gone:
            one.cancel()
        began = world.loop.time()
        await writer.start_workflow_execution(start_request())
        assert (await poll).task_token
        assert world.loop.time() - began < 0.1


async def between_polls(node: Node) -> None:
    """Its worker has polled, and is about to poll again."""
    poll = asyncio.ensure_future(polled(node))
    await asyncio.sleep(1)
    poll.cancel()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("polls_again", [True, False])
def test_what_a_node_has_written_is_for_its_own_workers_first_and_for_others_a_moment_later(polls_again: bool) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with nodes(world) as (writer, other):
            await between_polls(writer)
            there = asyncio.ensure_future(polled(other))
            await asyncio.sleep(1)
            began = world.loop.time()
            await writer.start_workflow_execution(start_request())
            if polls_again:
                await asyncio.sleep(0.01)
                assert (await polled(writer)).task_token
                await asyncio.sleep(1)
            else:
                assert (await there).task_token
                assert world.loop.time() - began < 0.1
            assert other.engine.metrics().row_starts == (not polls_again)
            there.cancel()

    scenario()


@virtual
async def test_what_another_node_has_started_is_not_tried_here(world: World) -> None:
    async with nodes(world) as (writer, other):
        await between_polls(other)
        for number in range(200):
            await writer.start_workflow_execution(start_request(f"order-{number}"))
        await asyncio.sleep(1)  # by now each is the other node's to take, and it knows of them
        assert len({(await polled(writer)).workflow_execution.workflow_id for _ in range(190)}) == 190
        await asyncio.sleep(1)
        assert len({(await polled(other)).workflow_execution.workflow_id for _ in range(10)}) == 10
        told = other.engine.metrics()
        assert (told.row_starts, told.stale_rows, told.conflicts) == (10, 0, 0)


@virtual
async def test_a_node_that_has_enough_of_its_own_leaves_the_rows_of_another_to_that_one_for_a_while(
    world: World,
) -> None:
    async with nodes(world) as (here, there):
        for node in (here, there):
            await between_polls(node)
        for number in range(20):
            await there.start_workflow_execution(start_request(f"theirs-{number}"))
        await here.start_workflow_execution(start_request("ours"))
        await asyncio.sleep(0.2)
        assert (await polled(here)).workflow_execution.workflow_id == "ours"
        taken = [(await polled(here)).workflow_execution.workflow_id for _ in range(10)]
        assert sorted(set(taken)) == sorted(taken)
        assert all(name.startswith("theirs-") for name in taken), "it has nothing of its own any more"
        await asyncio.sleep(1)
        await here.start_workflow_execution(start_request("ours-too"))
        assert (await polled(here)).workflow_execution.workflow_id.startswith("theirs-"), "they have waited in line"


@virtual
async def test_a_crowd_of_pollers_takes_a_crowd_of_rows_of_another_node(world: World) -> None:
    async with nodes(world) as (here, there):
        for node in (here, there):
            await between_polls(node)
        for number in range(1_500):
            await there.start_workflow_execution(start_request(f"theirs-{number}"))
        await asyncio.sleep(0.2)
        taken = await asyncio.gather(*(polled(here) for _ in range(1_500)))
        assert len({task.workflow_execution.workflow_id for task in taken}) == 1_500
