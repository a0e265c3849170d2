"""A workflow task that goes out before it is durable: what is stored when, what leaves when, and what if it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core import execution as law
from perdure.core.commit import Commit
from perdure.engine import Engine
from perdure.frontend import WorkflowService
from tests.engine.world import (
    ORDER,
    QUEUE,
    World,
    activity_poll,
    complete,
    completion,
    history,
    names,
    schedule,
    sleep,
    start_request,
    virtual,
    workflow_poll,
)

STICKY = "worker-1"
KEPT_NS = 50_000_000
STEP = [
    *["ACTIVITY_TASK_STARTED", "ACTIVITY_TASK_COMPLETED", "WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED"],
    *["WORKFLOW_TASK_COMPLETED", "ACTIVITY_TASK_SCHEDULED"],
]
"""A step in one commit."""


class NearWorker:
    """One in the engine's process, whose tasks are answered by hand. The newest task of each kind is in `workflow` and
    `activity`, and how many there were in `taken`."""

    def __init__(self, engine: Engine, seats: int = 3) -> None:
        self.connection = connection = WorkflowService(engine)
        self.workflow: Any = None
        self.activity: Any = None
        self.taken = 0
        for queue in (workflow_poll(), workflow_poll(STICKY, QUEUE)):
            connection.serve_workflow_tasks(queue, seats, self._take_workflow)
        connection.serve_activity_tasks(activity_poll(), seats, self._take_activity)

    def _take_workflow(self, task: Any, free: Callable[[], None]) -> None:
        self.taken += 1
        self.workflow = task
        free()

    def _take_activity(self, task: Any, free: Callable[[], None]) -> None:
        self.taken += 1
        self.activity = task
        free()

    async def begin(self) -> None:
        """A workflow whose first activity is with this worker."""
        await self.connection.start_workflow_execution(start_request())
        await self.answer(schedule("1"))
        assert self.activity.activity_id == "1"

    def done(self) -> asyncio.Task[Any]:
        """The activity in hand ends; the answer to that."""
        request = service.RespondActivityTaskCompletedRequest(task_token=self.activity.task_token)
        request.result.payloads.add(data=b'"charged"')
        return asyncio.create_task(self.connection.respond_activity_task_completed(request))

    def answer(self, *commands: Any, token: bytes = b"") -> asyncio.Task[Any]:
        """The workflow task in hand is answered; the answer to that."""
        request = completion(token or self.workflow.task_token, *commands, sticky=STICKY)
        return asyncio.create_task(self.connection.respond_workflow_task_completed(request))


class Written:
    """The commits that reach a store: the events of each."""

    def __init__(self, world: World) -> None:
        self.commits: list[list[str]] = []
        world.store.refuses = self._note

    def _note(self, commit: Commit) -> bool:
        self.commits.append(names(commit.events))
        return False


async def turns() -> None:
    """So many turns of the loop as a call needs that waits for nothing else, and less time than anything is kept."""
    for _ in range(12):
        await asyncio.sleep(0)


@virtual
async def test_a_workflow_of_two_activities_is_four_commits(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        written = Written(world)
        worker = NearWorker(engine)
        await worker.begin()
        for answer in (schedule("2"), complete()):
            ended = worker.done()
            await turns()
            await worker.answer(answer)
            await ended
        assert written.commits == [
            ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED"],
            ["WORKFLOW_TASK_COMPLETED", "ACTIVITY_TASK_SCHEDULED"],
            STEP,
            [*STEP[:5], "WORKFLOW_EXECUTION_COMPLETED"],
        ]
        assert names(await history(worker.connection)) == ORDER
        assert engine.metrics().early == 2


@virtual
async def test_nothing_but_the_task_leaves_before_the_commit_is_durable(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        worker = NearWorker(engine)
        await worker.begin()
        world.store.gate = asyncio.Event()
        ended = worker.done()
        await turns()
        assert names(worker.workflow.history.events)[-4:] == STEP[:4]
        written = Written(world)
        answered = worker.answer(schedule("2"))
        await asyncio.sleep(1)
        assert worker.activity.activity_id == "1" and not ended.done() and not answered.done()
        world.store.gate.set()
        await asyncio.gather(ended, answered)
        await turns()
        assert worker.activity.activity_id == "2"
        assert written.commits == [STEP]


@virtual
async def test_an_answer_that_does_not_come_is_waited_for_a_moment(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        written = Written(world)
        worker = NearWorker(engine)
        await worker.begin()
        begun = world.loop.time()
        await worker.done()
        assert 0.04 < world.loop.time() - begun < 0.11
        assert written.commits[-1] == STEP[:4]
        await worker.answer(complete())
        assert written.commits[-1] == ["WORKFLOW_TASK_COMPLETED", "WORKFLOW_EXECUTION_COMPLETED"]


@virtual
async def test_whoever_else_wants_something_of_it_does_not_wait_for_the_answer(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        written = Written(world)
        worker = NearWorker(engine)
        await worker.begin()
        begun = world.loop.time()
        ended = worker.done()
        await turns()
        request = service.SignalWorkflowExecutionRequest(namespace="default", signal_name="hurry")
        request.workflow_execution.workflow_id = "order-1"
        await asyncio.gather(worker.connection.signal_workflow_execution(request), ended)
        assert world.loop.time() - begun < 0.01
        assert written.commits[-2:] == [STEP[:4], []], "the signal waits behind the task"
        await worker.answer(sleep("nap", 60))
        assert "WORKFLOW_EXECUTION_SIGNALED" in written.commits[-1]


@virtual
async def test_a_read_sees_what_is_durable(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        worker = NearWorker(engine)
        await worker.begin()
        world.store.gate = asyncio.Event()
        ended = worker.done()
        await turns()
        reading = asyncio.create_task(history(worker.connection))
        await asyncio.sleep(5)
        assert not reading.done() and not ended.done()
        world.store.gate.set()
        assert names(await reading)[-4:] == STEP[:4]


@virtual
async def test_a_run_whose_step_was_lost_to_another_goes_on_from_what_is_stored(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        worker = NearWorker(engine)
        await worker.begin()
        ended = worker.done()
        await turns()
        lost = worker.workflow
        world.store.conflicts = 1
        with pytest.raises(Rejected) as refused:
            await worker.answer(schedule("2"))
        assert refused.value.code == StatusCode.NOT_FOUND, "what it saw was never stored"
        await ended
        await turns()
        assert worker.workflow.task_token != lost.task_token
        await worker.answer(complete())
        assert names(await history(worker.connection))[-6:] == [*STEP[:5], "WORKFLOW_EXECUTION_COMPLETED"]


@virtual
async def test_an_answer_to_a_task_that_was_never_stored_is_known_though_another_has_its_number(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        worker = NearWorker(engine)
        await worker.begin()
        failing = [True]
        world.store.fails = lambda method: method == "commit" and bool(failing)
        ended = worker.done()
        await turns()
        lost = worker.workflow
        with pytest.raises(Rejected):
            await ended  # written without the answer, and the store fails
        failing.clear()
        again = worker.done()
        await turns()
        assert worker.workflow.started_event_id == lost.started_event_id and worker.workflow is not lost
        with pytest.raises(Rejected) as refused:
            await worker.answer(schedule("of the lost one"), token=lost.task_token)
        assert refused.value.code == StatusCode.NOT_FOUND
        await again
        await worker.answer(complete())
        assert "ACTIVITY_TASK_SCHEDULED" not in names(await history(worker.connection))[6:]


@virtual
async def test_a_worker_is_told_whether_its_task_is_durable(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        written = Written(world)
        worker = NearWorker(engine)
        await worker.begin()
        ended = worker.done()
        await turns()
        begun = world.loop.time()
        assert await worker.workflow.durable()
        assert world.loop.time() - begun < 0.01 and written.commits[-1] == STEP[:4]
        await ended
        assert await worker.workflow.durable(), "asked late, when it is long known"
        await worker.answer(schedule("2"))
        world.store.fails = lambda method: method == "commit"
        ended = worker.done()
        await turns()
        assert not await worker.workflow.durable()
        with pytest.raises(Rejected):
            await ended


@virtual
async def test_an_engine_that_stops_writes_what_it_kept(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        written = Written(world)
        worker = NearWorker(engine)
        await worker.begin()
        ended = worker.done()
        await turns()
        assert written.commits[-1] != STEP[:4]
    assert written.commits[-1] == STEP[:4]
    await ended


@virtual
async def test_an_answer_that_breaks_the_law_takes_nothing_along(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        worker = NearWorker(engine)
        await worker.begin()
        ended = worker.done()
        await turns()
        handlers = law._HANDLERS
        kept = handlers[law.commands.CompleteWorkflowTask]

        def broken(turn: Any, command: Any) -> Any:
            handlers[law.commands.CompleteWorkflowTask] = kept
            turn.execution.next_event_id += 7
            raise RuntimeError("a bug")

        handlers[law.commands.CompleteWorkflowTask] = (broken, kept[1])
        with pytest.raises(Rejected) as refused:
            await worker.answer(schedule("2"))
        assert refused.value.code == StatusCode.NOT_FOUND, "the other was decided again, and has another task"
        await ended
        await turns()
        await worker.answer(complete())
        assert names(await history(worker.connection))[-6:] == [*STEP[:5], "WORKFLOW_EXECUTION_COMPLETED"]


@virtual
async def test_one_that_asks_over_the_wire_is_served_when_its_task_is_durable(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        written = Written(world)
        connection = WorkflowService(engine)
        poll = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        await connection.start_workflow_execution(start_request())
        task = await poll
        await connection.respond_workflow_task_completed(completion(task.task_token, schedule("1")))
        activity = await connection.poll_activity_task_queue(activity_poll())
        world.store.gate = asyncio.Event()
        poll = asyncio.create_task(connection.poll_workflow_task_queue(workflow_poll()))
        await turns()
        ended = asyncio.create_task(
            connection.respond_activity_task_completed(
                service.RespondActivityTaskCompletedRequest(task_token=activity.task_token)
            )
        )
        await asyncio.sleep(5)
        assert not poll.done() and not ended.done()
        world.store.gate.set()
        await asyncio.gather(poll, ended)
        assert written.commits[-1] == STEP[:4] and not engine.metrics().early


@virtual
async def test_a_task_that_follows_an_answer_waits_until_that_is_durable(world: World) -> None:
    """The worker has the run in hand until it knows that its answer is stored."""
    async with world.engine(kept_ns=KEPT_NS) as engine:
        written = Written(world)
        worker = NearWorker(engine)
        await worker.begin()
        await worker.done()
        request = service.SignalWorkflowExecutionRequest(namespace="default", signal_name="hurry")
        request.workflow_execution.workflow_id = "order-1"
        await worker.connection.signal_workflow_execution(request)
        early = engine.metrics().early
        await worker.answer(sleep("nap", 60))
        assert written.commits[-1][-2:] == ["WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED"]
        assert engine.metrics().early == early


@virtual
async def test_no_start_is_kept_back_for_it_is_a_guess(world: World) -> None:
    async with world.engine(kept_ns=KEPT_NS) as engine:
        worker = NearWorker(engine)
        world.store.gate = asyncio.Event()
        starting = asyncio.create_task(worker.connection.start_workflow_execution(start_request()))
        await asyncio.sleep(5)
        assert not worker.taken and not starting.done()
        world.store.gate.set()
        await starting
        assert worker.taken == 1
