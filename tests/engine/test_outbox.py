"""Messages between workflows arrive, each once, whatever dies on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from itertools import pairwise, repeat
from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commit import Commit
from perdure.core.message import CloseChild, Message, Origin
from perdure.core.names import ExecutionKey
from perdure.engine import Engine
from perdure.engine.duties.duties import Duties
from perdure.engine.duties.outbox import Outbox
from perdure.engine.feed.news import News
from perdure.engine.namespaces import Namespaces
from perdure.engine.node.clock import WatchedClock
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.metrics import Metrics
from perdure.frontend import WorkflowService
from perdure.stores.api import BEGINNING
from perdure.stores.memory import MemoryStore
from tests.core.post import cancel_external, signal_external, start_child
from tests.engine.test_elsewhere import nodes, polled
from tests.engine.world import (
    PASSING,
    QUEUE,
    World,
    complete,
    completion,
    describe_request,
    history,
    names,
    outcome,
    sleep,
    start_request,
    virtual,
    workflow_poll,
)


def child(workflow_id: str = "kid", **fields: Any) -> Command:
    command = start_child(workflow_id, **fields)
    command.start_child_workflow_execution_command_attributes.task_queue.name = QUEUE
    return command


def parent_commands(events: list[HistoryEvent]) -> list[Command]:
    """Starts a child; when that runs, signals another workflow and asks for its cancellation; ends when all is told."""
    happened = names(events)
    if "START_CHILD_WORKFLOW_EXECUTION_INITIATED" not in happened:
        return [child()]
    if "CHILD_WORKFLOW_EXECUTION_STARTED" not in happened:
        return []
    if "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED" not in happened:
        return [signal_external("other"), cancel_external("other")]
    awaited = {
        "CHILD_WORKFLOW_EXECUTION_COMPLETED",
        "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED",
        "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED",
    }
    return [complete()] if awaited <= set(happened) else []


def other_commands(events: list[HistoryEvent]) -> list[Command]:
    """Ends when it was signalled and asked to end."""
    awaited = {"WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_CANCEL_REQUESTED"}
    return [complete()] if awaited <= set(names(events)) else []


PROGRAMS: dict[str, Callable[[list[HistoryEvent]], list[Command]]] = {
    "order-1": parent_commands,
    "other": other_commands,
    "kid": lambda events: [complete()],
}


class Player:
    """A worker of all three workflows."""

    def __init__(self, connection: WorkflowService) -> None:
        self._connection = connection
        self.task = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        while True:
            try:
                await self._serve_one()
            except Rejected as error:
                if error.code not in PASSING:
                    raise
                await asyncio.sleep(0.1)

    async def _serve_one(self) -> None:
        task = await self._connection.poll_workflow_task_queue(workflow_poll())
        if task.task_token:
            commands = PROGRAMS[task.workflow_execution.workflow_id](list(task.history.events))
            await self._connection.respond_workflow_task_completed(completion(task.task_token, *commands))

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def start_both(connection: WorkflowService) -> None:
    for workflow_id in ("other", "order-1"):
        await connection.start_workflow_execution(start_request(workflow_id, request_id=workflow_id))


async def check_end(world: World, engine: Engine, connection: WorkflowService) -> None:
    await engine.mailboxes.quiet.reached(engine.mailboxes.quiet.count)
    parent = names(await history(connection))
    for once in (
        "CHILD_WORKFLOW_EXECUTION_STARTED",
        "CHILD_WORKFLOW_EXECUTION_COMPLETED",
        "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED",
        "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED",
        "WORKFLOW_EXECUTION_COMPLETED",
    ):
        assert parent.count(once) == 1, (once, parent)
    other = names(await history(connection, "other"))
    assert other.count("WORKFLOW_EXECUTION_SIGNALED") == other.count("WORKFLOW_EXECUTION_CANCEL_REQUESTED") == 1
    assert names(await history(connection, "kid")).count("WORKFLOW_EXECUTION_STARTED") == 1
    assert await world.store.inner.pending_messages(BEGINNING, 10) == []


@virtual
async def test_parent_child_and_stranger_hear_of_one_another(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        player = Player(connection)
        await start_both(connection)
        for workflow_id in ("order-1", "kid", "other"):
            await outcome(connection, workflow_id)
        await check_end(world, engine, connection)
        await player.stop()


@virtual
async def test_nothing_is_lost_or_doubled_when_the_engine_dies_after_any_commit(world: World) -> None:
    whole = 0
    for crash_after in range(1, 40):
        world = World(world.loop, seed=crash_after)
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            player = Player(connection)
            await start_both(connection)
            commits = engine.mailboxes.committed
            crash = asyncio.ensure_future(commits.reached(commits.count + crash_after))
            ends = asyncio.gather(outcome(connection, "order-1"), outcome(connection, "other"), return_exceptions=True)
            await asyncio.wait([crash, ends], return_when=asyncio.FIRST_COMPLETED)
            whole = crash_after if ends.done() else 0
            await engine.abort()
            await player.stop()
            await ends
            crash.cancel()
        async with world.engine(workers_died=True) as engine:
            connection = WorkflowService(engine)
            player = Player(connection)
            for workflow_id in ("order-1", "kid", "other"):
                await outcome_of(connection, workflow_id)
            await check_end(world, engine, connection)
            await player.stop()
        if whole:
            break
    assert whole > 8, "the crashes must have met every stage"


async def outcome_of(connection: WorkflowService, workflow_id: str) -> None:
    """Also of a workflow that is about to be started."""
    while True:
        try:
            await outcome(connection, workflow_id)
            return
        except Rejected:
            await asyncio.sleep(0.1)


@virtual
async def test_more_messages_than_memory_takes_are_read_from_the_store(world: World) -> None:
    async with world.engine(outbox_messages_max=2, outbox_page=3) as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        kids = [f"kid-{number}" for number in range(20)]
        await connection.respond_workflow_task_completed(completion(task.task_token, *map(child, kids)))
        await engine.outbox.settled.reached(20)
        described = await connection.describe_workflow_execution(describe_request())
        assert {pending.workflow_id for pending in described.pending_children if pending.run_id} == set(kids)
        assert await world.store.inner.pending_messages(BEGINNING, 100) == []


@virtual
async def test_a_store_that_fails_for_a_while_delays_messages_and_loses_none(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        player = Player(connection)
        await start_both(connection)
        failures = iter([False, True] * 40)
        world.store.fails = lambda method: method in ("commit", "remove_messages") and next(failures, False)
        for workflow_id in ("order-1", "kid", "other"):
            await outcome_of(connection, workflow_id)
        await check_end(world, engine, connection)
        await player.stop()


@virtual
async def test_a_parents_end_reaches_its_children_and_its_description_names_them(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        started = await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(
            completion(task.task_token, child("ended"), child("asked", parent_close_policy=3))
        )
        await engine.outbox.settled.reached(2)
        kid = await connection.describe_workflow_execution(describe_request("ended"))
        info = kid.workflow_execution_info
        assert (info.parent_execution.workflow_id, info.parent_execution.run_id) == ("order-1", started.run_id)
        assert info.root_execution.run_id == started.run_id
        assert info.parent_namespace_id == engine.namespaces.get("default").id
        request = service.TerminateWorkflowExecutionRequest(namespace="default")
        request.workflow_execution.workflow_id = "order-1"
        await connection.terminate_workflow_execution(request)
        await engine.outbox.settled.reached(4)
        assert names(await history(connection, "ended"))[-1] == "WORKFLOW_EXECUTION_TERMINATED"
        assert names(await history(connection, "asked"))[-1] == "WORKFLOW_EXECUTION_CANCEL_REQUESTED"


@virtual
async def test_what_names_no_namespace_of_ours_fails_by_name(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        commands = [
            child(namespace="moon"),
            signal_external(namespace="moon"),
            cancel_external("other", namespace="moon"),
        ]
        await connection.respond_workflow_task_completed(completion(task.task_token, *commands))
        await engine.outbox.settled.reached(3)
        events = await history(connection)
        failed = {name: event for name, event in zip(names(events), events, strict=True) if name.endswith("FAILED")}
        start = failed["START_CHILD_WORKFLOW_EXECUTION_FAILED"].start_child_workflow_execution_failed_event_attributes
        assert start.cause == 2
        assert len(failed) == 3


def reset_request(finish: int) -> service.ResetWorkflowExecutionRequest:
    request = service.ResetWorkflowExecutionRequest(
        namespace="default", reason="again", workflow_task_finish_event_id=finish, request_id="reset"
    )
    request.workflow_execution.workflow_id = "order-1"
    return request


async def answer(connection: WorkflowService, workflow_id: str, *commands: Command) -> None:
    """The next workflow task, which must be this workflow's."""
    task = await connection.poll_workflow_task_queue(workflow_poll())
    assert task.workflow_execution.workflow_id == workflow_id
    await connection.respond_workflow_task_completed(completion(task.task_token, *commands))


@virtual
async def test_a_reset_parent_goes_on_with_the_child_that_it_had_started(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        await answer(connection, "order-1", child(parent_close_policy=1))
        await engine.outbox.settled.reached(1)
        tasks = [await connection.poll_workflow_task_queue(workflow_poll()) for _ in range(2)]
        kid, parent_task = sorted(tasks, key=lambda task: task.workflow_execution.workflow_id)
        await connection.respond_workflow_task_completed(completion(parent_task.task_token))
        finish = len(await history(connection))
        await connection.reset_workflow_execution(reset_request(finish))
        assert "WORKFLOW_EXECUTION_TERMINATED" not in names(await history(connection, "kid"))
        await connection.respond_workflow_task_completed(completion(kid.task_token, complete()))
        await engine.outbox.settled.reached(2)
        parent = names(await history(connection))
        assert parent.count("CHILD_WORKFLOW_EXECUTION_STARTED") == 1
        assert parent[-1] == "CHILD_WORKFLOW_EXECUTION_COMPLETED"


@virtual
async def test_a_reset_run_sends_again_what_has_no_answer_yet(world: World) -> None:
    """The child that the run before it had started is ended with it, and a new one starts."""
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request("other"))
        other = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(other.task_token))
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        done = completion(task.task_token, child(), signal_external("other"))
        done.force_create_new_workflow_task = True
        await connection.respond_workflow_task_completed(done)
        await engine.outbox.settled.reached(2)
        events = names(await history(connection))
        scheduled = 5 + events[5:].index("WORKFLOW_TASK_SCHEDULED") + 1
        assert "CHILD_WORKFLOW_EXECUTION_STARTED" not in events[:scheduled]
        await connection.reset_workflow_execution(reset_request(scheduled + 1))
        await engine.outbox.settled.reached(5)
        again = names(await history(connection))
        assert again.count("CHILD_WORKFLOW_EXECUTION_STARTED") == 1
        assert again.count("EXTERNAL_WORKFLOW_EXECUTION_SIGNALED") == 1
        assert names(await history(connection, "other")).count("WORKFLOW_EXECUTION_SIGNALED") == 1
        described = await connection.describe_workflow_execution(describe_request("kid"))
        current = await connection.describe_workflow_execution(describe_request())
        parent = described.workflow_execution_info.parent_execution
        assert parent.run_id == current.workflow_execution_info.execution.run_id


async def troubled(
    world: World, config: EngineConfig, errors: Iterator[Rejected | None]
) -> tuple[list[float], Metrics]:
    """When a message was tried that meets these errors; None: it is delivered."""
    loop = asyncio.get_running_loop()
    store, metrics, tried = MemoryStore(), Metrics(), list[float]()
    await store.open()
    namespaces = Namespaces(store, lambda: "id", config)
    await namespaces.start()

    def submit(namespace: str, workflow_id: str, run_id: str | None, command: Any, /) -> asyncio.Future[Any]:
        tried.append(loop.time())
        reply: asyncio.Future[Any] = loop.create_future()
        error = next(errors)
        if error is None:
            reply.set_result(True)
        else:
            reply.set_exception(error)
        return reply

    duties = Duties(store, WatchedClock(world.clock, lambda jump: None), None, config, metrics)
    outbox = Outbox(store, config, metrics, duties, namespaces, submit)
    await outbox.start()
    key = ExecutionKey("default", "kid", "run")
    closing = CloseChild(Origin("default", "order-1", "run", 5), 1)
    commit = Commit(key, 0, None, messages=[Message("m-1", "default", "kid", "", closing)])
    outbox.hear(News(key, 1, 1, 1, False, None, has_messages=True, commit=commit))
    await outbox.settled.reached(1)
    await outbox.stop()
    return tried, metrics


@virtual
async def test_a_target_that_is_busy_is_asked_again_more_and_more_slowly(world: World) -> None:
    busy = [Rejected(StatusCode.RESOURCE_EXHAUSTED, "busy"), Rejected(StatusCode.UNAVAILABLE, "away")] * 10
    config = EngineConfig(outbox_retry_ns=10**9, outbox_retry_max_ns=8 * 10**9, outbox_faults_max=2)
    tried, metrics = await troubled(world, config, iter([*busy, None]))
    assert [round(late - early) for early, late in pairwise(tried)] == [1, 2, 4, *[8] * 17]
    assert (metrics.message_retries, metrics.parked_messages) == (20, 0)


@virtual
async def test_a_message_that_meets_nothing_but_faults_is_told_of_and_left_to_the_next_start(world: World) -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("perdure.engine.duties.outbox")
    logger.addHandler(handler)
    try:
        config = EngineConfig(outbox_faults_max=3)
        tried, metrics = await troubled(world, config, repeat(Rejected(StatusCode.INTERNAL, "a bug")))
    finally:
        logger.removeHandler(handler)
    assert len(tried) == 3
    assert (metrics.message_retries, metrics.parked_messages) == (3, 1)
    assert said[-1] == (
        "CloseChild from 'm-1' to workflow 'kid' cannot be delivered (fault 3): a bug; left to the next start"
    )


@pytest.mark.parametrize("asks", [signal_external, cancel_external])
def test_a_message_to_a_child_does_not_overtake_the_start_that_a_dead_node_owes(asks: Callable[..., Command]) -> None:
    @virtual
    async def run(world: World) -> None:
        async with nodes(world) as (dead, living):
            await dead.engine.outbox.stop()  # it delivers nothing any more
            await dead.start_workflow_execution(start_request())
            task = await polled(dead)
            wakes = completion(task.task_token, child(), sleep("t", 1))
            await dead.respond_workflow_task_completed(wakes)
            task = await polled(living)
            early = completion(task.task_token, asks("kid", child_workflow_only=True))
            await living.respond_workflow_task_completed(early)
            await asyncio.sleep(1)
            assert names(await history(living))[-1].endswith("EXTERNAL_WORKFLOW_EXECUTION_INITIATED"), "it waits"
            await dead.engine.abort()
            told = await polled(living)
            if told.workflow_execution.workflow_id == "order-1":
                await living.respond_workflow_task_completed(completion(told.task_token))
            await asyncio.sleep(15)  # its death is noticed, and what came too early is tried again more slowly
            heard = names(await history(living, "kid"))
            what = "SIGNALED" if asks is signal_external else "CANCEL_REQUESTED"
            assert heard.count(f"WORKFLOW_EXECUTION_{what}") == 1
            assert f"EXTERNAL_WORKFLOW_EXECUTION_{what}" in names(await history(living))

    run()
