"""What nodes tell one another of commits: at once what somebody waits for, in few words the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from perdure.core.names import QueueName, TaskKind
from perdure.engine import Engine, EngineConfig, NodeConfig
from perdure.engine.feed.held_rows import IN_LINE_S, OWN_TURN_S
from perdure.engine.feed.relay import LATER_S, RUNS_MAX, remember
from perdure.engine.matching.seats import Seat
from perdure.frontend import WorkflowService
from perdure.stores.api import Hear, Store
from tests.engine.shared import Post, Shared, at_once
from tests.engine.test_hot import signal_request
from tests.engine.world import (
    QUEUE,
    Worker,
    World,
    complete,
    completion,
    describe_request,
    history_request,
    names,
    outcome,
    sleep,
    start_request,
    virtual,
    workflow_poll,
)

SOON_S = 0.01
ROWS = QueueName("default", QUEUE, TaskKind.WORKFLOW)


class Node(WorkflowService):
    """An engine, and what it is asked through."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.engine = engine

    @property
    def sent(self) -> int:
        return self.engine.metrics().notices_sent

    def knows(self, workflow_id: str) -> bool:
        """Whether the run is in its memory."""
        mailbox = self.engine.mailboxes.peek("default", workflow_id)
        return mailbox is not None and mailbox.execution is not None


class Line:
    """Carries notices, and keeps them; one that `spoils` says so of is lost, or comes twice."""

    def __init__(self, spoils: Callable[[bytes], bool] = lambda notice: False, times: int = 0) -> None:
        self.spoils = spoils
        self.times = times
        self.carried: list[bytes] = []

    def __call__(self, hear: Hear, notice: bytes | None) -> None:
        assert notice is not None
        self.carried.append(notice)
        for _ in range(self.times if self.spoils(notice) else 1):
            at_once(hear, notice)


@asynccontextmanager
async def nodes(world: World, count: int = 2, carry: Post = at_once, **node: Any) -> AsyncIterator[list[Node]]:
    """Some that have heard of one another."""
    shared = Shared(world.store, carry)
    config = EngineConfig(node=NodeConfig(**node))
    made = [Node(Engine(cast(Store, shared.face()), world.clock, world.ids, config)) for _ in range(count)]
    for one in made:
        await one.engine.start()
    await asyncio.sleep(3)
    yield made
    for one in made:
        await one.engine.stop()


async def soon(world: World, waiting: Awaitable[Any]) -> Any:
    """What it gives, which takes no longer than to be told of it at once."""
    began = world.loop.time()
    answer = await asyncio.wait_for(waiting, 30)
    assert world.loop.time() - began < SOON_S
    return answer


async def polled(node: Node) -> Any:
    return await node.poll_workflow_task_queue(workflow_poll())


def is_fed(node: Node) -> bool:
    """Whether it has said that it has enough to do."""
    return ROWS in node.engine.matching.others.fed([ROWS])


async def polled_once(node: Node) -> None:
    """Workers are there, and none of them waits."""
    poll = asyncio.ensure_future(node.poll_workflow_task_queue(workflow_poll()))
    await asyncio.sleep(0.1)
    poll.cancel()
    await asyncio.sleep(0)


def has_rows(notice: bytes) -> bool:
    return QUEUE.encode() in notice and b"polled" not in notice


# --- in few words ---------------------------------------------------------------------------------


@virtual
async def test_what_one_node_does_for_its_own_clients_and_workers_costs_the_others_little(world: World) -> None:
    """Fifteen commits, five rows and a wait for the end of each of forty orders: a notice or two for ten of them."""
    line = Line()
    async with nodes(world, 4, line) as fleet:
        workers = [Worker(node, steps=4).start(pollers=2) for node in fleet]
        await asyncio.sleep(1)
        before = sum(node.sent for node in fleet)
        line.carried.clear()
        for number in range(40):
            node = fleet[number % 4]
            await node.start_workflow_execution(start_request(f"order-{number}"))
            await asyncio.wait_for(outcome(node, f"order-{number}"), 5)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        sent = sum(node.sent for node in fleet) - before
        assert 0 < sent <= 40
        news = [notice for notice in line.carried if b"news" in notice]
        assert sum(notice.count(b"news") for notice in news) <= 40 * 2 * 3, "to three others each"
        assert not any(map(has_rows, news))
        assert sum(node.engine.metrics().conflicts for node in fleet) == 0
        for worker in workers:
            await worker.stop()


@virtual
async def test_who_remembers_a_run_hears_a_moment_later_that_it_went_on(world: World) -> None:
    async with nodes(world) as (here, there):
        await polled_once(there)
        await there.start_workflow_execution(start_request())
        await there.signal_workflow_execution(signal_request("one"))
        await here.signal_workflow_execution(signal_request("two"))
        await asyncio.sleep(SOON_S)
        assert here.knows("order-1")
        assert not there.knows("order-1"), "another node's first word of a run is told at once"
        await here.signal_workflow_execution(signal_request("three"))
        await there.signal_workflow_execution(signal_request("four"))
        assert sum(node.engine.metrics().conflicts for node in (here, there)) == 0


@virtual
async def test_a_run_that_goes_from_node_to_node_without_a_pause_loses_no_race(world: World) -> None:
    async with nodes(world, 3) as three:
        await three[0].start_workflow_execution(start_request())
        for number in range(30):
            await three[number % 3].signal_workflow_execution(signal_request(f"{number}"))
            await asyncio.sleep(SOON_S / 5)
        assert [node.engine.metrics().conflicts for node in three] == [0, 0, 0]


def test_what_is_remembered_of_runs_is_bounded() -> None:
    runs: dict[str, float] = {}
    for number in range(RUNS_MAX + 1_000):
        remember(runs, f"run-{number}", 1.0)
    assert len(runs) == RUNS_MAX
    assert "run-999" not in runs
    assert "run-1000" in runs


# --- at once --------------------------------------------------------------------------------------


@virtual
async def test_a_start_wakes_a_poll_at_another_node_at_once(world: World) -> None:
    async with nodes(world) as (here, there):
        poll = asyncio.ensure_future(here.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        await there.start_workflow_execution(start_request())
        assert (await soon(world, poll)).task_token


@pytest.mark.parametrize("waits_there_too", [True, False])
def test_who_waits_for_an_end_hears_of_it_at_once_from_another_node(waits_there_too: bool) -> None:
    """Also when somebody waits at the node where it ends: that one is not the only one, and that is known."""

    @virtual
    async def scenario(world: World) -> None:
        async with nodes(world) as (here, there):
            await there.start_workflow_execution(start_request())
            task = await there.poll_workflow_task_queue(workflow_poll())
            waits = [asyncio.ensure_future(outcome(here, "order-1"))]
            if waits_there_too:
                waits.append(asyncio.ensure_future(outcome(there, "order-1")))
            await asyncio.sleep(1)
            await there.respond_workflow_task_completed(completion(task.task_token, complete()))
            await soon(world, asyncio.gather(*waits))

    scenario()


@virtual
async def test_who_comes_to_wait_for_an_end_when_it_has_not_been_told_yet_hears_of_it_at_once(world: World) -> None:
    """It remembers the run as open; who waits at the node where it ended was not known to be in company."""
    async with nodes(world) as (here, there):
        run_id = (await there.start_workflow_execution(start_request())).run_id
        task = await there.poll_workflow_task_queue(workflow_poll())
        waits = asyncio.ensure_future(outcome(there, "order-1"))
        await asyncio.sleep(1)
        assert (await here.describe_workflow_execution(describe_request())).workflow_execution_info.status == 1
        await there.respond_workflow_task_completed(completion(task.task_token, complete()))
        await waits
        assert here.knows("order-1")
        await soon(world, outcome(here, "order-1", run_id))


@virtual
async def test_who_follows_a_run_at_another_node_hears_of_each_event_at_once(world: World) -> None:
    async with nodes(world) as (here, there):
        await there.start_workflow_execution(start_request())
        page = await here.get_workflow_execution_history(history_request(wait_new_event=True))
        for number in range(5):
            request = history_request(wait_new_event=True, next_page_token=page.next_page_token)
            poll = asyncio.ensure_future(here.get_workflow_execution_history(request))
            await asyncio.sleep(1)
            assert not poll.done()
            await there.signal_workflow_execution(signal_request(f"{number}"))
            page = await soon(world, poll)
            assert names(page.history.events) == ["WORKFLOW_EXECUTION_SIGNALED"]


# --- rows -----------------------------------------------------------------------------------------


@virtual
async def test_a_row_that_nobody_takes_in_time_is_told(world: World) -> None:
    async with nodes(world) as (here, there):
        await polled_once(there)
        poll = asyncio.ensure_future(here.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        began = world.loop.time()
        await there.start_workflow_execution(start_request())
        assert (await poll).task_token
        assert world.loop.time() - began <= OWN_TURN_S + SOON_S


@virtual
async def test_who_has_enough_to_do_is_told_of_no_rows_until_he_has_not(world: World) -> None:
    line = Line()
    async with nodes(world, carry=line) as (here, there):
        for node in (here, there):
            await polled_once(node)
        await there.start_workflow_execution(start_request("order-0"))
        await asyncio.sleep(0.2)
        assert is_fed(here), "nobody waited for that one"
        assert (await there.poll_workflow_task_queue(workflow_poll())).task_token
        line.carried.clear()
        for number in range(1, 6):
            await there.start_workflow_execution(start_request(f"order-{number}"))
        await asyncio.sleep(0.5)
        assert not any(map(has_rows, line.carried))
        assert (await there.poll_workflow_task_queue(workflow_poll())).workflow_execution.workflow_id == "order-1"
        poll = asyncio.ensure_future(here.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(0.2)
        assert poll.done(), "they are told as soon as somebody waits"
        assert poll.result().workflow_execution.workflow_id.startswith("order-")
        assert is_fed(here), "nobody waits for the rest"


@pytest.mark.parametrize("is_in_process", [True, False])
def test_workers_that_come_to_a_node_are_told_of_rows_that_others_have_too_many_of(is_in_process: bool) -> None:
    """Also those of a queue that was polled there before, and not for a while."""

    @virtual
    async def scenario(world: World) -> None:
        async with nodes(world) as (here, there):
            Seat(there.engine.matching, ROWS, "far", "far", lambda seat, task: None)
            if not is_in_process:
                await polled_once(here)
                await asyncio.sleep(60)
            for number in range(3):
                await there.start_workflow_execution(start_request(f"order-{number}"))
            await asyncio.sleep(0.2)
            taken: list[Any] = []
            if is_in_process:
                Seat(here.engine.matching, ROWS, "near", "near", lambda seat, task: taken.append(task)).free()
                await asyncio.sleep(0.2)
                assert len(taken) == 1
            else:
                assert (await asyncio.wait_for(polled(here), 0.2)).task_token

    scenario()


@virtual
async def test_rows_that_have_waited_long_are_told_to_who_has_enough_to_do_as_well(world: World) -> None:
    line = Line()
    async with nodes(world, carry=line) as (here, there):
        for node in (here, there):
            await polled_once(node)
        await there.start_workflow_execution(start_request("order-0"))
        await asyncio.sleep(0.2)
        assert is_fed(here)
        line.carried.clear()
        await there.start_workflow_execution(start_request("order-1"))
        await asyncio.sleep(IN_LINE_S - 2 * SOON_S)
        assert not any(map(has_rows, line.carried))
        await asyncio.sleep(3 * SOON_S)
        assert any(map(has_rows, line.carried))


def polled_again(notice: bytes) -> bool:
    return b"polled" in notice


@pytest.mark.parametrize("times", [0, 2])
def test_word_that_there_is_not_enough_to_do_may_be_lost_or_come_twice(times: int) -> None:
    """Lost, it is said again in a few seconds; until then rows come when they have waited long."""

    @virtual
    async def scenario(world: World) -> None:
        line = Line(times=times)
        async with nodes(world, carry=line) as (here, there):
            for node in (here, there):
                await polled_once(node)
            await there.start_workflow_execution(start_request("order-0"))
            await asyncio.sleep(0.2)
            line.spoils = polled_again
            polls = [asyncio.ensure_future(here.poll_workflow_task_queue(workflow_poll())) for _ in range(3)]
            await asyncio.sleep(0.2)
            assert sum(poll.done() for poll in polls) == 1, "the one that it was told of before"
            assert not is_fed(here)
            line.spoils = lambda notice: False
            began = world.loop.time()
            await there.start_workflow_execution(start_request("order-1"))
            waiting = [poll for poll in polls if not poll.done()]
            await asyncio.wait(waiting, timeout=10, return_when="FIRST_COMPLETED")
            assert world.loop.time() - began <= (IN_LINE_S if times == 0 else OWN_TURN_S) + 3 * SOON_S
            for poll in polls:
                poll.cancel()

    scenario()


@virtual
async def test_a_node_that_ends_in_order_tells_what_it_still_has_to_tell(world: World) -> None:
    async with nodes(world) as (here, there):
        await polled_once(there)
        poll = asyncio.ensure_future(here.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        began = world.loop.time()
        await there.start_workflow_execution(start_request())
        await there.engine.stop()
        assert (await poll).task_token
        assert world.loop.time() - began <= OWN_TURN_S


@virtual
async def test_one_that_never_joined_the_others_has_told_everything_when_it_ends(world: World) -> None:
    """A command's engine: nobody would miss what it did not tell."""
    line = Line()
    async with nodes(world, carry=line) as (here, there):
        shared = cast(Any, there.engine.store).shared
        config = EngineConfig(node=NodeConfig(), has_duties=False)
        passes = Node(Engine(cast(Store, shared.face()), world.clock, world.ids, config))
        await passes.engine.start()
        await passes.start_workflow_execution(start_request())
        await asyncio.sleep(1)
        assert (await here.describe_workflow_execution(describe_request())).workflow_execution_info.status == 1
        await passes.signal_workflow_execution(signal_request("one"))
        assert here.knows("order-1")
        await passes.engine.stop()
        await asyncio.sleep(0)
        assert not here.knows("order-1")


@virtual
async def test_the_rows_of_a_node_that_dies_before_it_has_told_of_them_are_found(world: World) -> None:
    async with nodes(world) as (here, there):
        await polled_once(there)
        poll = asyncio.ensure_future(here.poll_workflow_task_queue(workflow_poll()))
        await asyncio.sleep(1)
        began = world.loop.time()
        await there.start_workflow_execution(start_request())
        await there.engine.abort()
        assert (await poll).task_token
        assert world.loop.time() - began <= 6, "when it is taken for dead"


@virtual
async def test_a_node_that_joins_while_rows_are_held_finds_them(world: World) -> None:
    shared = Shared(world.store)
    config = EngineConfig(node=NodeConfig())
    one, two, late = (Node(Engine(cast(Store, shared.face()), world.clock, world.ids, config)) for _ in range(3))
    await one.engine.start()
    await two.engine.start()
    await asyncio.sleep(3)
    await polled_once(one)
    await one.start_workflow_execution(start_request())
    await late.engine.start()
    poll = asyncio.ensure_future(late.poll_workflow_task_queue(workflow_poll()))
    assert (await asyncio.wait_for(poll, OWN_TURN_S + 2 * SOON_S)).task_token
    for node in (one, two, late):
        await node.engine.stop()


@virtual
async def test_a_poll_that_begins_while_a_row_is_being_held_gets_it(world: World) -> None:
    """It has read the queue before the row was there, and was not known when it was written."""
    async with nodes(world) as (here, there):
        await polled_once(there)
        await there.start_workflow_execution(start_request())
        poll = asyncio.ensure_future(here.poll_workflow_task_queue(workflow_poll()))
        assert (await asyncio.wait_for(poll, OWN_TURN_S + 2 * SOON_S)).task_token


# --- deadlines, and what is lost ------------------------------------------------------------------


@virtual
async def test_a_near_deadline_is_kept_in_time_by_whichever_node_has_it(world: World) -> None:
    async with nodes(world, 3, look_every_ns=10**15) as fleet:
        for number in range(12):
            node = fleet[0]
            await node.start_workflow_execution(start_request(f"nap-{number}"))
            task = await node.poll_workflow_task_queue(workflow_poll())
            nap = sleep("nap", 1)
            nap.start_timer_command_attributes.start_to_fire_timeout.FromMilliseconds(50)
            began = world.loop.time()
            await node.respond_workflow_task_completed(completion(task.task_token, nap))
            assert (await asyncio.wait_for(node.poll_workflow_task_queue(workflow_poll()), 5)).task_token
            assert world.loop.time() - began < 0.05 + SOON_S


@pytest.mark.parametrize("times", [0, 2])
def test_word_that_somebody_follows_may_be_lost_or_come_twice(times: int) -> None:
    @virtual
    async def scenario(world: World) -> None:
        line = Line(lambda notice: b"follows" in notice, times)
        async with nodes(world, carry=line) as (here, there):
            await there.start_workflow_execution(start_request())
            task = await there.poll_workflow_task_queue(workflow_poll())
            waits = [asyncio.ensure_future(outcome(node, "order-1")) for node in (here, there)]
            await asyncio.sleep(1)
            began = world.loop.time()
            await there.respond_workflow_task_completed(completion(task.task_token, complete()))
            await asyncio.gather(*waits)
            assert world.loop.time() - began <= LATER_S + SOON_S, "it costs that moment"

    scenario()


@virtual
async def test_a_wait_for_an_end_of_which_no_word_came_looks_when_notices_are_missing(world: World) -> None:
    line = Line(lambda notice: b"news" in notice, 0)
    async with nodes(world, carry=line) as (here, there):
        await there.start_workflow_execution(start_request())
        task = await there.poll_workflow_task_queue(workflow_poll())
        wait = asyncio.ensure_future(outcome(here, "order-1"))
        await asyncio.sleep(1)
        await there.respond_workflow_task_completed(completion(task.task_token, complete()))
        await asyncio.wait_for(wait, 3)
