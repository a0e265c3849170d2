"""Tasks that a server in the same process hands over: hands that are used again, and the end of those at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure.sdk.worker.served import Served

PATIENCE_S = 60


class Desk:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Event] = {}
        self.freed: dict[str, asyncio.Event] = {}
        self.served: Served[str] = Served("tests", self._serve, self._handle, slots=2)
        self.served.start()

    def _serve(self, _slots: int, take: Callable[[str, Callable[[], None]], None]) -> Callable[[], None]:
        self._take = take
        return lambda: None

    async def _handle(self, task: str) -> None:
        await self.ends[task].wait()

    async def give(self, task: str) -> None:
        self.ends[task], self.freed[task] = asyncio.Event(), asyncio.Event()
        self._take(task, self.freed[task].set)
        await asyncio.sleep(0)

    async def end(self, task: str) -> None:
        self.ends[task].set()
        async with asyncio.timeout(PATIENCE_S):
            await self.freed[task].wait()


async def test_what_has_ended_is_not_waited_for() -> None:
    desk = Desk()
    for task in ("one", "two"):  # by one hand
        await desk.give(task)
        await desk.end(task)
    async with asyncio.timeout(PATIENCE_S):
        assert await desk.served.drain(2 * PATIENCE_S)


async def test_what_is_in_hand_is_waited_for_until_it_ends() -> None:
    desk = Desk()
    await desk.give("one")
    await desk.give("two")
    draining = asyncio.create_task(desk.served.drain(2 * PATIENCE_S))
    await desk.end("one")
    assert not draining.done()
    await desk.end("two")
    async with asyncio.timeout(PATIENCE_S):
        assert await draining


async def test_what_does_not_end_is_told_and_given_up() -> None:
    desk = Desk()
    await desk.give("one")
    assert not await desk.served.drain(0)
    await desk.served.abandon()
    assert await desk.served.drain(0)
