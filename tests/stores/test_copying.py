"""A store that is copied into another one: everything is there, in its order, and goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perdure.core.commit import Commit
from perdure.core.execution import encode
from perdure.core.state import parts_of
from perdure.engine import Engine as NodeEngine
from perdure.engine import EngineConfig, TimeOrderedIds
from perdure.engine.node.clock import SystemClock
from perdure.engine.records.kinds import KINDS
from perdure.stores import copying
from perdure.stores.api import BEGINNING, Namespace, Outcome, RecordChange, Store, StoreError
from perdure.stores.copying import Copied, CopyError, copy, refuse_unfinished
from perdure.stores.encoding import Written
from perdure.stores.memory import MemoryStore
from tests.stores.given import COMPLETED, QUEUE, Run, event_ids, message_id, queued

HOUR_NS = 3600 * 1_000_000_000


async def _copied(source: Store, target: Store) -> Copied:
    told: list[int] = []
    copied = await copy(source, target, KINDS, told.append)
    assert sum(told) == copied.executions
    return copied


async def _snapshots(store: Store, *runs: Run) -> list[bytes]:
    """Of states as they are once their bytes are counted, which encoding does."""
    states = [state for state in await store.load([run.reference for run in runs]) if state is not None]
    for state in states:
        encode(state)
    return [encode(state) for state in states]


async def test_every_run_comes_with_its_history_and_its_deadline_and_leads_where_it_led(store: Store) -> None:
    source = MemoryStore()
    await source.open()
    await source.put_namespace(Namespace("default", "id-1", HOUR_NS, search_attributes={"Color": 2}))
    first, second, third = (Run(run_id=f"run-{number}") for number in (3, 1, 2))
    await source.commit([first.commit(close_as=COMPLETED)])
    await source.commit([second.commit(close_as=COMPLETED, after="run-3", then=third.commit(after="run-1"))])
    await source.commit([third.commit(3, wake_at_ns=5 * HOUR_NS, held=True)])

    copied = await _copied(source, store)

    assert copied.executions == 3
    assert await _snapshots(store, first, second, third) == await _snapshots(source, first, second, third)
    assert event_ids(await store.history(third.key)) == [1, 2, 3, 4, 5]
    assert await store.namespaces() == await source.namespaces()
    assert await store.due(5 * HOUR_NS, 10) == [third.key]
    assert await store.in_flight(None, 10) == [third.key]
    [current] = await store.load([first.current])
    assert current is not None and current.key == third.key
    await store.commit([third.commit(close_as=COMPLETED)])
    assert await store.delete_executions([third.key]) == 1
    [current] = await store.load([first.current])
    assert current is not None and current.key == second.key  # the newest of the others, as in the source


async def test_queues_and_the_outbox_keep_their_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "RUNS_TOGETHER", 2)
    source = MemoryStore()
    await source.open()
    await source.put_namespace(Namespace("default", "id-1", HOUR_NS))
    runs = [Run(f"order-{number}") for number in (4, 1, 3, 0, 2)]
    for number, run in enumerate(runs):
        await source.commit([run.commit(add=[run.task()], send=[f"message-{number}"])])
    waiting = Run("order-9")
    await source.commit([waiting.commit(wake_at_ns=1)])

    copied = await _copied(source, store)

    assert (copied.tasks, copied.messages) == (5, 5)
    assert [task.key for task in await queued(store, QUEUE)] == [run.key for run in runs]
    outbox = [message_id(row) for row in await store.pending_messages(BEGINNING, 100)]
    assert outbox == [f"message-{number}" for number in range(5)]


async def test_what_is_kept_beside_a_snapshot_comes_along(store: Store) -> None:
    source = MemoryStore()
    await source.open()
    await source.put_namespace(Namespace("default", "id-1", HOUR_NS))
    run = Run()
    commit = run.commit()
    run.execution.first_event = b"what it was started with" * 1000
    run.execution.facts.apart.add(1)
    commit.parts = {1: run.execution.first_event}
    assert await source.commit([commit]) == [Outcome.APPLIED]

    await _copied(source, store)

    [copied] = await store.load([run.reference])
    assert copied is not None and parts_of(copied) == {1: b"what it was started with" * 1000}


async def test_records_come_along(store: Store) -> None:
    source = MemoryStore()
    await source.open()
    changes = [RecordChange(KINDS[0], "default", f"{number:04}", 0, b"%d" % number, number) for number in range(1500)]
    await source.put_records([*changes, RecordChange("node", "", "gone", 0, b"not work")])

    copied = await _copied(source, store)

    assert copied.records == 1500
    assert await store.record(KINDS[0], "default", "1499") == await source.record(KINDS[0], "default", "1499")
    assert await store.next_record_wake_at_ns(41) == 42
    assert await store.record("node", "", "gone") is None


async def test_a_store_that_holds_something_is_no_target(store: Store) -> None:
    source = MemoryStore()
    await source.open()
    run = Run()
    await store.put_namespace(Namespace("default", "id-1", HOUR_NS))
    await store.commit([run.commit()])

    with pytest.raises(CopyError, match="holds executions"):
        await _copied(source, store)

    await refuse_unfinished(store)  # it is what it was, and goes on
    assert event_ids(await store.history(run.key)) == [1, 2]


async def test_nobody_goes_on_with_half_of_a_store() -> None:
    class Lost(MemoryStore):
        async def commit(self, commits: Sequence[Commit]) -> Sequence[Written]:
            raise StoreError("the disk is full")

    source, target = MemoryStore(), Lost()
    await source.open()
    await target.open()
    await source.put_namespace(Namespace("default", "id-1", HOUR_NS))
    await source.commit([Run().commit()])
    with pytest.raises(StoreError, match="disk is full"):
        await _copied(source, target)
    await target.close()

    clock = SystemClock()
    engine = NodeEngine(target, clock, TimeOrderedIds(clock), EngineConfig())
    with pytest.raises(StoreError, match="make it again, into an empty store"):
        await engine.start()
    await target.open()
    with pytest.raises(StoreError, match="make it again"):
        await _copied(source, target)


def test_every_kind_that_an_engine_keeps_is_copied() -> None:
    clock = SystemClock()
    engine = NodeEngine(MemoryStore(), clock, TimeOrderedIds(clock), EngineConfig())
    assert set(engine.record_waker.kinds) == set(KINDS)
