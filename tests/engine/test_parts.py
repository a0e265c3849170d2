"""Ids, signals, namespaces: the small parts."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import replace

import pytest

from perdure.api.errors import Rejected, StatusCode
from perdure.core.search_attributes import IndexedType
from perdure.engine import SystemClock, TimeOrderedIds
from perdure.engine.node.gatherer import Gatherer
from perdure.engine.node.signal import Signal
from perdure.stores.api import StoreError
from perdure.stores.visibility import ALL
from tests.engine.world import World, virtual


class Ticking:
    def __init__(self) -> None:
        self.ns = 1_700_000_000_000_000_000

    def now_ns(self) -> int:
        self.ns += 1_000_000
        return self.ns


def test_ids_are_uuids_of_version_seven_in_order_of_time() -> None:
    ids = TimeOrderedIds(Ticking())
    made = [ids() for _ in range(1_000)]
    assert made == sorted(set(made))
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 7, uuid.RFC_4122)
    assert int(made[0].replace("-", "")[:12], 16) == 1_700_000_000_001


def test_ids_repeat_with_their_seed_and_only_then() -> None:
    def some(seed: int) -> list[str]:
        ids = TimeOrderedIds(Ticking(), random.Random(seed).getrandbits)
        return [ids() for _ in range(10)]

    assert some(1) == some(1)
    assert not set(some(1)) & set(some(2))


def test_the_system_clock_counts_nanoseconds_of_the_epoch() -> None:
    first, second = SystemClock().now_ns(), SystemClock().now_ns()
    assert 1_700_000_000 * 10**9 < first <= second


@virtual
async def test_a_signal_wakes_whoever_waits_for_its_count(world: World) -> None:
    signal = Signal()
    third = asyncio.create_task(signal.reached(3))
    first = asyncio.create_task(signal.reached(1))
    await asyncio.sleep(1)
    signal.emit()
    await first
    assert not third.done()
    signal.emit()
    signal.emit()
    await third
    await signal.reached(2)


@virtual
async def test_a_gatherer_works_in_batches_on_what_came_meanwhile(world: World) -> None:
    worked: list[list[int]] = []

    class Slow(Gatherer[int]):
        async def _work(self, batch: list[int]) -> None:
            worked.append(batch)
            await asyncio.sleep(1)

    slow = Slow(batch_max=4)
    await slow.start()
    slow.add(0)
    await asyncio.sleep(0.5)
    for number in range(1, 10):
        slow.add(number)
    await slow.batches.reached(4)
    assert worked == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]
    await slow.stop()
    await slow.stop()


@virtual
async def test_what_a_batch_of_several_brings_about_at_once_is_one_batch(world: World) -> None:
    worked: list[list[int]] = []
    loop = asyncio.get_running_loop()

    class Chained(Gatherer[int]):
        """What a batch sets going comes back in two steps: some by the batch itself, the rest in the next turn."""

        async def _work(self, batch: list[int]) -> None:
            worked.append(batch)
            if len(worked) <= 2:
                self.add(batch[0] + 10)
                loop.call_soon(self.add, batch[0] + 11)

    gatherer = Chained(batch_max=4)
    await gatherer.start()
    gatherer.add(0)
    gatherer.add(1)
    await gatherer.batches.reached(3)
    assert worked == [[0, 1], [10, 11], [20, 21]]
    await gatherer.stop()


@virtual
async def test_who_is_alone_in_a_batch_waits_for_nobody(world: World) -> None:
    worked: list[tuple[list[int], int]] = []
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turns < 10:
            asyncio.get_running_loop().call_soon(turn)

    class Lone(Gatherer[int]):
        async def _work(self, batch: list[int]) -> None:
            worked.append((batch, turns))
            if batch[0] < 2:
                self.add(batch[0] + 1)

    lone = Lone(batch_max=4)
    await lone.start()
    lone.add(0)
    turn()
    await lone.batches.reached(3)
    assert [batch for batch, _ in worked] == [[0], [1], [2]]
    assert len({at for _, at in worked}) == 1, "all in one turn of the loop"
    await lone.stop()


@virtual
async def test_an_unknown_namespace_is_not_found(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(Rejected) as refused:
            engine.namespaces.get("nowhere")
        assert refused.value.code is StatusCode.NOT_FOUND


@virtual
async def test_the_type_that_an_operator_registers_beats_one_that_is_being_learned(world: World) -> None:
    async with world.engine(learns_search_attributes=True) as engine:
        namespaces = engine.namespaces
        assert namespaces.attribute_type("default", "Amount", int(IndexedType.KEYWORD)) == IndexedType.KEYWORD
        await namespaces.change("default", lambda known: replace(known, search_attributes={"Amount": IndexedType.INT}))
        await namespaces.stop()  # what was learned is stored behind it
        await namespaces.refresh()
        assert namespaces.get("default").search_attributes == {"Amount": IndexedType.INT}
        assert namespaces.search_attributes("default")["Amount"] == IndexedType.INT


@virtual
async def test_lists_of_a_store_that_fails_are_unavailable(world: World) -> None:
    async with world.engine() as engine:
        world.store.fails = lambda method: method in ("find_executions", "count_executions")
        for reading in (engine.find_executions("default", ALL), engine.count_executions("default")):
            with pytest.raises(Rejected) as refused:
                await reading
            assert refused.value.code is StatusCode.UNAVAILABLE


@virtual
async def test_a_second_stop_and_an_abort_after_it_do_nothing(world: World) -> None:
    async with world.engine() as engine:
        assert engine.is_started
        await engine.stop()
        assert not engine.is_started
        await engine.stop()
        await engine.abort()


@virtual
async def test_a_store_that_does_not_open_is_left_alone(world: World) -> None:
    await world.store.inner.open()
    with pytest.raises(StoreError):
        async with world.engine():
            pass
