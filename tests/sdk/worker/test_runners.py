"""Runners: as many polls and as much work as allowed, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

import pytest

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.worker.runners import Runners


class Item(NamedTuple):
    task_token: bytes
    name: str = ""


class Queue:
    """Counts what the runners do with it."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[Any] = asyncio.Queue()
        self.waiting = self.most_waiting = self.in_hand = self.most_in_hand = 0
        self.gate = asyncio.Event()
        self.done: list[str] = []
        self.taken = asyncio.Semaphore(0)

    async def poll(self) -> Item:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            item = await self.items.get()
        finally:
            self.waiting -= 1
        if isinstance(item, Exception):
            raise item
        return item

    async def handle(self, item: Item) -> None:
        self.in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        self.taken.release()
        try:
            await self.gate.wait()
            if item.name == "bad":
                raise RuntimeError("handling failed")
            self.done.append(item.name)
        finally:
            self.in_hand -= 1

    def runners(self, slots: int, polls: int) -> Runners[Item]:
        return Runners("test", self.poll, self.handle, slots=slots, polls=polls)


async def take(queue: Queue, count: int) -> None:
    for _ in range(count):
        await queue.taken.acquire()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_poll_is_made_only_for_a_free_slot() -> None:
    queue = Queue()
    runners = queue.runners(slots=4, polls=2)
    for number in range(10):
        queue.items.put_nowait(Item(b"t", str(number)))
    runners.start()
    await take(queue, 4)
    await settle()
    assert (queue.in_hand, queue.waiting, queue.items.qsize(), runners.free) == (4, 0, 6, 0)
    queue.gate.set()
    await take(queue, 6)
    await settle()
    assert sorted(queue.done) == sorted(str(n) for n in range(10))
    assert (queue.most_in_hand, queue.most_waiting, queue.waiting) == (4, 2, 2)
    runners.stop_polling()
    assert await runners.drain(1)


async def test_idle_runners_park_and_are_used_again() -> None:
    queue = Queue()
    queue.gate.set()
    runners = queue.runners(slots=50, polls=1)
    runners.start()
    for _ in range(3):
        queue.gate.clear()
        for number in range(20):
            queue.items.put_nowait(Item(b"t", str(number)))
        await take(queue, 20)
        queue.gate.set()
        await settle()
        assert (queue.waiting, queue.most_waiting, runners.free) == (1, 1, 50)
    assert len(asyncio.all_tasks()) <= 22
    runners.stop_polling()
    assert await runners.drain(1)


async def test_an_empty_poll_is_made_again() -> None:
    queue = Queue()
    queue.gate.set()
    runners = queue.runners(1, 1)
    runners.start()
    queue.items.put_nowait(Item(b""))
    queue.items.put_nowait(Item(b"t", "real"))
    await take(queue, 1)
    await settle()
    assert queue.done == ["real"]
    runners.stop_polling()
    await runners.drain(1)


async def test_a_task_that_cannot_be_handled_does_not_end_its_runner(caplog: pytest.LogCaptureFixture) -> None:
    queue = Queue()
    queue.gate.set()
    runners = queue.runners(1, 1)
    runners.start()
    queue.items.put_nowait(Item(b"t", "bad"))
    queue.items.put_nowait(Item(b"t", "good"))
    await take(queue, 2)
    await settle()
    assert queue.done == ["good"]
    assert "a task of test was not answered" in caplog.text
    runners.stop_polling()
    await runners.drain(1)


async def test_a_failing_poll_is_tried_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.sdk.worker.delivery.FIRST_PAUSE_S", 0)
    queue = Queue()
    queue.gate.set()
    runners = queue.runners(1, 1)
    runners.start()
    with caplog.at_level(logging.WARNING):
        queue.items.put_nowait(Rejected(StatusCode.UNAVAILABLE, "away"))
        queue.items.put_nowait(Rejected(StatusCode.PERMISSION_DENIED, "not you"))
        queue.items.put_nowait(KeyError("a bug of the connection"))
        queue.items.put_nowait(Item(b"t", "after"))
        await take(queue, 1)
    await settle()
    assert queue.done == ["after"]
    assert [r.getMessage() for r in caplog.records] == [
        "polling test failed, trying again: away",
        "polling test failed, trying again",
    ]
    runners.stop_polling()
    await runners.drain(1)


async def test_what_is_in_hand_ends_after_polling_has_stopped() -> None:
    queue = Queue()
    runners = queue.runners(2, 2)
    queue.items.put_nowait(Item(b"t", "slow"))
    runners.start()
    await take(queue, 1)
    runners.stop_polling()
    assert not await runners.drain(0)
    assert queue.waiting == 0
    queue.gate.set()
    assert await runners.drain(10)
    assert queue.done == ["slow"]


async def test_abandoned_work_is_cancelled() -> None:
    queue = Queue()
    runners = queue.runners(2, 2)
    queue.items.put_nowait(Item(b"t", "endless"))
    runners.start()
    await take(queue, 1)
    runners.stop_polling()
    await runners.abandon()
    assert (queue.in_hand, queue.done) == (0, [])


async def test_work_that_ignores_its_cancellation_is_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.sdk.worker.runners.ABANDON_PAUSE_S", 0)
    queue, end = Queue(), asyncio.Event()

    async def stubborn(item: Item) -> None:
        queue.taken.release()
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                continue

    runners = Runners("test", queue.poll, stubborn, slots=1, polls=1)
    queue.items.put_nowait(Item(b"t"))
    runners.start()
    await take(queue, 1)
    runners.stop_polling()
    await runners.abandon()
    assert "1 tasks of test ignore their cancellation" in caplog.text
    end.set()
    assert await runners.drain(10)


async def test_an_eager_task_is_taken_without_a_poll() -> None:
    queue = Queue()
    queue.gate.set()
    runners = queue.runners(2, 1)
    runners.accept(Item(b"t", "eager"))
    assert await runners.drain(10)
    assert queue.done == ["eager"]
