"""What a check of a store finds, whatever kind of store it is; and that a store at work is found sound."""

from __future__ import annotations

from typing import Any, cast

from perdure.engine.records.kinds import KINDS
from perdure.frontend import WorkflowService
from perdure.stores.api import QueuedTask, RecordChange, Store
from perdure.stores.checking import Checked, check
from tests.engine.world import (
    World,
    activity_poll,
    completion,
    history,
    schedule,
    sleep,
    start_request,
    virtual,
    workflow_poll,
)


async def _checked(world: World) -> Checked:
    looked: list[int] = []
    checked = await check(cast(Store, world.store), KINDS, looked.append)
    assert sum(looked) == checked.executions
    return checked


async def _work(connection: WorkflowService) -> None:
    """One order that waits for a workflow task, one for an activity and a timer, one with a started activity."""
    for number in range(3):
        await connection.start_workflow_execution(start_request(f"order-{number}"))
    for commands in ([schedule("pack"), sleep("a while", 60)], [schedule("send")]):
        task = await connection.poll_workflow_task_queue(workflow_poll())
        await connection.respond_workflow_task_completed(completion(task.task_token, *commands))
    await connection.poll_activity_task_queue(activity_poll())


def _inside(world: World) -> Any:
    return world.store.inner


@virtual
async def test_a_store_at_work_is_sound(world: World) -> None:
    async with world.engine() as engine:
        await _work(WorkflowService(engine))
        checked = await _checked(world)
        assert (checked.problems, checked.damage, checked.executions) == ({}, [], 3)
        histories = [await history(WorkflowService(engine), f"order-{number}") for number in range(3)]
        assert checked.events == sum(map(len, histories)) > 10


@virtual
async def test_a_task_row_that_is_gone_is_missed(world: World) -> None:
    async with world.engine() as engine:
        await _work(WorkflowService(engine))
        rows: dict[Any, QueuedTask] = _inside(world)._tasks
        assert len(rows) == 2
        gone = [row.task for row in rows.values()]
        rows.clear()
        checked = await _checked(world)
        assert checked.problems.keys() == {task.key for task in gone}
        for task in gone:
            missed = f"the {task.queue.kind.name.lower()} task of event {task.scheduled_event_id} is on no queue"
            assert checked.problems[task.key] == [f"a law is broken: I15: {missed}"]


@virtual
async def test_an_event_that_is_gone_is_missed(world: World) -> None:
    async with world.engine() as engine:
        await _work(WorkflowService(engine))
        for run in _inside(world)._runs.values():
            if len(run.batches) > 1:
                run.batches.pop(1)
        checked = await _checked(world)
        assert {key.workflow_id for key in checked.problems} == {"order-0", "order-1"}
        assert all("is not what its history says" in found[0] for found in checked.problems.values())


@virtual
async def test_what_changes_while_it_is_looked_at_is_looked_at_again(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await _work(connection)
        rows = _inside(world)._tasks
        hidden = dict(rows)
        rows.clear()  # as if they had been written after they were looked for
        looks = 0
        load = world.store.load

        async def load_later(references: Any) -> Any:
            nonlocal looks
            looks += 1
            if looks == 3:
                rows.update(hidden)
            return await load(references)

        world.store.load = load_later  # type: ignore[method-assign]
        assert (await _checked(world)).problems == {}


@virtual
async def test_a_damaged_record_is_named(world: World) -> None:
    async with world.engine():
        await world.store.put_records([RecordChange(KINDS[0], "default", "nightly", 0, b"?")])
        inner = _inside(world)
        [(name, record)] = inner._records.items()
        inner._records[name] = type(record)(*name, 1, None, b"?", damage="it does not fit its checksum")
        assert (await _checked(world)).damage == [f"{KINDS[0]} 'nightly' is damaged: it does not fit its checksum"]
