"""The wire between nodes: what is told arrives, and who may have missed something knows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from perdure.engine.node.metrics import Metrics
from perdure.engine.node.wire import LETTER, NOTICE_BYTES_MAX, Wire
from perdure.stores.api import Hear, Store, StoreError
from tests.engine.shared import Shared, at_once
from tests.engine.world import World, virtual, virtual_logged

BEAT_S = 1.0
KNOWN_S = 2.1 * BEAT_S
"""A notice that is missing is missed by the second beat."""


class Node:
    """One end of the wire, and what it hears there."""

    def __init__(self, world: World, shared: Shared, name: str) -> None:
        self.face = shared.face()
        self.heard: list[tuple[str, bytes]] = []
        self.gaps = 0
        self.is_there = True
        self.metrics = Metrics()
        self.wire = Wire(cast(Store, self.face), world.clock, name, self.metrics, self._gap)
        self.wire.on("word", self._hear)

    def _hear(self, node: str, body: bytes) -> None:
        self.heard.append((node, body))

    def _gap(self) -> None:
        self.gaps += 1

    async def beat(self, others: Sequence[Node]) -> None:
        """Read their records, as it were, beat by beat."""
        while True:
            self.wire.compare({other.wire.node: other.wire.told for other in others if other.is_there})
            await asyncio.sleep(BEAT_S)


@asynccontextmanager
async def nodes(world: World, carry: Callable[[Hear, bytes | None], None] = at_once) -> AsyncIterator[list[Node]]:
    """Three nodes that have heard of one another."""
    shared = Shared(world.store, carry)
    made = [Node(world, shared, name) for name in ("one", "two", "three")]
    for node in made:
        await node.face.open()
        await node.wire.start()
    beats = [asyncio.ensure_future(node.beat([other for other in made if other is not node])) for node in made]
    await asyncio.sleep(0)
    yield made
    for beat in beats:
        beat.cancel()
    for node in made:
        await node.wire.stop()
        await node.face.close()


@virtual
async def test_what_is_told_is_heard_by_all_others_or_by_the_one(world: World) -> None:
    async with nodes(world) as (one, two, three):
        one.wire.tell("word", b"for all")
        one.wire.tell("word", b"for two", to="two")
        one.wire.tell("another word", b"that nobody knows")
        await asyncio.sleep(2 * BEAT_S)
        assert one.heard == []
        assert two.heard == [("one", b"for all"), ("one", b"for two")]
        assert three.heard == [("one", b"for all")]
        assert (one.gaps, two.gaps, three.gaps) == (0, 0, 0)


@virtual
async def test_many_messages_share_notices_that_are_small(world: World) -> None:
    sizes: list[int] = []

    def weigh(hear: Hear, notice: bytes | None) -> None:
        sizes.append(len(notice or b""))
        at_once(hear, notice)

    async with nodes(world, weigh) as (one, two, _):
        sizes.clear()
        told = [b"%04d" % number * 25 for number in range(400)]
        for body in told:
            one.wire.tell("word", body)
        await asyncio.sleep(BEAT_S / 2)
        assert [body for _, body in two.heard] == told
        assert max(sizes) <= NOTICE_BYTES_MAX
        assert len(sizes) < 2 * 12, "some forty kilobytes for each of two nodes"
        assert two.gaps == 0


def losing(number: int) -> Callable[[Hear, bytes | None], None]:
    """Loses the so manieth notice with a word in it."""
    seen: list[bytes] = []

    def carry(hear: Hear, notice: bytes | None) -> None:
        if notice is not None and b"word" in notice:
            seen.append(notice)
            if len(seen) == number:
                return
        at_once(hear, notice)

    return carry


@pytest.mark.parametrize("number", [1, 3, 5])
def test_who_misses_a_notice_looks_again_in_a_moment(number: int) -> None:
    """Also when it is the last one: then by the next beat."""

    @virtual
    async def scenario(world: World) -> None:
        async with nodes(world, losing(number)) as (one, two, three):
            for word in (b"a", b"b", b"c"):
                one.wire.tell("word", word)
                await asyncio.sleep(0.01)
            await asyncio.sleep(KNOWN_S)
            assert len(two.heard) + len(three.heard) == 5
            assert (two.gaps, three.gaps) == ((1, 0) if len(two.heard) == 2 else (0, 1))

    scenario()


@virtual
async def test_what_comes_twice_or_late_is_heard_and_no_gap_without_end(world: World) -> None:
    delays = iter([0.3, 0.1, 0.2] * 100)

    def carry(hear: Hear, notice: bytes | None) -> None:
        for _ in range(2):
            asyncio.get_running_loop().call_later(next(delays), hear, notice)

    async with nodes(world, carry) as (one, two, _):
        for word in (b"a", b"b", b"c"):
            one.wire.tell("word", word)
            await asyncio.sleep(0.01)
        await asyncio.sleep(5 * BEAT_S)
        assert {body for _, body in two.heard} == {b"a", b"b", b"c"}
        gaps = two.gaps
        await asyncio.sleep(5 * BEAT_S)
        assert two.gaps == gaps


@virtual
async def test_a_notice_that_comes_within_a_beat_is_not_missed(world: World) -> None:
    """Its record says that it was told before it arrives."""

    def carry(hear: Hear, notice: bytes | None) -> None:
        asyncio.get_running_loop().call_later(0.9 * BEAT_S, hear, notice)

    async with nodes(world, carry) as (one, two, _):
        for word in range(50):
            one.wire.tell("word", b"%d" % word)
            await asyncio.sleep(0.17 * BEAT_S)
        await asyncio.sleep(KNOWN_S)
        assert (len(two.heard), two.gaps) == (50, 0)


@virtual
async def test_who_comes_later_has_not_missed_what_was_told_before(world: World) -> None:
    async with nodes(world) as (one, two, _):
        for word in (b"a", b"b", b"c"):
            one.wire.tell("word", word)
            await asyncio.sleep(0.01)
        late = Node(world, one.face.shared, "late")
        await late.face.open()
        await late.wire.start()
        one.wire.tell("word", b"d")
        await asyncio.sleep(0.01)
        beats = asyncio.ensure_future(late.beat([one]))
        two.wire.tell("word", b"e")
        await asyncio.sleep(KNOWN_S)
        one.wire.tell("word", b"f")
        await asyncio.sleep(KNOWN_S)
        assert ([body for _, body in late.heard], late.gaps) == ([b"d", b"e", b"f"], 0)
        beats.cancel()
        await late.wire.stop()
        await late.face.close()


@virtual
async def test_a_fleet_that_has_nothing_to_tell_sends_nothing(world: World) -> None:
    sent: list[bytes | None] = []
    async with nodes(world, lambda hear, notice: sent.append(notice)) as (one, _, three):
        await asyncio.sleep(60 * BEAT_S)
        assert sent == []
        assert one.metrics.notices_sent == three.metrics.notices_sent == 0


@virtual
async def test_who_is_alone_tells_nobody_and_a_node_that_comes_finds_that_something_is_missing(world: World) -> None:
    shared = Shared(world.store)
    alone, comes = Node(world, shared, "alone"), Node(world, shared, "comes")
    for node in (alone, comes):
        await node.face.open()
        await node.wire.start()
    assert not alone.wire.is_alone, "it has not looked yet"
    alone.wire.compare({})
    assert alone.wire.is_alone
    alone.wire.lose()
    comes.wire.compare({"alone": alone.wire.told})
    comes.wire.compare({"alone": alone.wire.told})
    assert comes.gaps == 0, "it reads what there is when it comes"
    alone.wire.lose()
    comes.wire.compare({"alone": alone.wire.told})
    comes.wire.compare({"alone": alone.wire.told})
    assert comes.gaps == 1
    comes.wire.tell("word", b"hello")
    await asyncio.sleep(BEAT_S)
    assert not alone.wire.is_alone
    for node in (alone, comes):
        await node.wire.stop()
        await node.face.close()


@virtual
async def test_a_node_that_ends_in_order_has_told_what_it_did(world: World) -> None:
    """Also one that never joined the others, as a command's engine: nobody would miss it."""
    shared = Shared(world.store)
    ends, stays = Node(world, shared, "ends"), Node(world, shared, "stays")
    for node in (ends, stays):
        await node.face.open()
        await node.wire.start()
    notify = ends.face.notify

    async def slowly(channel: str, notices: Sequence[bytes]) -> None:
        await asyncio.sleep(1.0)
        await notify(channel, notices)

    setattr(ends.face, "notify", slowly)
    ends.wire.tell("word", b"one")
    await asyncio.sleep(0.5)
    ends.wire.tell("word", b"two")
    await ends.wire.flush()
    await ends.wire.stop()
    await asyncio.sleep(0)
    assert [body for _, body in stays.heard] == [b"one", b"two"]
    await ends.wire.flush()
    await stays.wire.stop()
    for node in (ends, stays):
        await node.face.close()


@virtual
async def test_a_node_is_heard_of_until_it_is_gone(world: World) -> None:
    async with nodes(world) as (one, two, _):
        await asyncio.sleep(60 * BEAT_S)
        assert two.wire.hears("one"), "although it says nothing"
        one.is_there = False
        await asyncio.sleep(1.1 * BEAT_S)
        assert not two.wire.hears("one")
        assert two.gaps == 0, "that is told by its record"


@virtual
async def test_a_store_that_says_that_notices_were_lost_is_believed(world: World) -> None:
    async with nodes(world) as (_, two, three):
        two.face.gap()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (two.gaps, three.gaps) == (1, 0)


@virtual
async def test_what_could_not_be_told_is_a_gap_for_the_others(world: World) -> None:
    async with nodes(world) as (one, two, _):
        notify = one.face.notify

        async def fail(channel: str, notices: Sequence[bytes]) -> None:
            raise StoreError("the disk is on fire: put it out")

        one.face.notify = fail
        one.wire.tell("word", b"lost")
        await asyncio.sleep(0.1)
        one.face.notify = notify
        await asyncio.sleep(KNOWN_S)
        assert (two.gaps, two.heard) == (1, [])
        assert two.metrics.notice_gaps == 1
        one.wire.tell("word", b"told")
        await asyncio.sleep(0.1)
        assert two.heard[-1] == ("one", b"told")
        assert two.gaps == 1


@virtual
async def test_a_long_message_for_one_node_goes_as_a_letter(world: World) -> None:
    async with nodes(world) as (one, two, three):
        long = b"x" * 100_000
        one.wire.tell("word", long, to="two")
        await asyncio.sleep(0.1)
        assert two.heard == [("one", long)]
        assert three.heard == []
        assert list(await world.store.records(LETTER)) == [], "it was taken away when it was read"


@virtual
async def test_a_letter_that_nobody_took_wakes_its_keeper(world: World) -> None:
    async with nodes(world) as (one, two, three):
        one.wire.tell("word", b"x" * 100_000, to="a node that is gone")
        await asyncio.sleep(0.1)
        [letter] = await world.store.records(LETTER)
        assert letter.wake_at_ns is not None
        assert letter.wake_at_ns > world.clock.now_ns()
        await two.wire.drop_letter(letter)
        await three.wire.drop_letter(letter)
        assert list(await world.store.records(LETTER)) == []


@virtual
async def test_what_is_too_long_for_all_is_a_gap(world: World) -> None:
    async with nodes(world) as (one, two, three):
        one.wire.tell("word", b"x" * 100_000)
        one.wire.tell("word", b"short")
        await asyncio.sleep(KNOWN_S)
        assert two.heard == three.heard == [("one", b"short")]
        assert (two.gaps, three.gaps) == (1, 1)


@virtual_logged
async def test_who_cannot_read_or_hear_something_goes_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with nodes(world) as (one, two, _):

        def broken(node: str, body: bytes) -> None:
            raise ZeroDivisionError("a bug of a hearer")

        two.wire.on("bad word", broken)
        one.wire.tell("bad word", b"")
        one.wire.tell("bad word", b"x" * 100_000, to="two")
        await one.face.notify("wire", [b"\xc1 no message pack"])
        one.wire.tell("word", b"after it")
        await asyncio.sleep(0.1)
        assert two.heard == [("one", b"after it")]
        assert two.gaps == 1
        assert caplog.text.count("cannot be heard") == 2
        assert "a notice of another node cannot be read" in caplog.text
