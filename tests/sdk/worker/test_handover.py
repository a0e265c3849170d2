"""Work to threads and back."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from perdure.sdk.worker.handover import InlineHands, Returns, ThreadHands

VARIABLE = contextvars.ContextVar("variable", default="unset")


async def test_results_come_back_to_the_loop() -> None:
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 4, "test")
    results = await asyncio.gather(*(hands.submit(lambda n=n: n * n) for n in range(500)))
    hands.stop()
    assert results == [n * n for n in range(500)]


async def test_jobs_that_block_get_a_thread_each() -> None:
    most = 40
    hands = ThreadHands(Returns(asyncio.get_running_loop()), most, "test")
    together = threading.Barrier(most)
    # Only when all of them are at the barrier at once does any of them end: first on new threads, then on idle ones.
    for _ in range(2):
        await asyncio.gather(*(hands.submit(together.wait) for _ in range(most)))
    hands.stop()


async def test_there_are_never_more_threads_than_allowed() -> None:
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 3, "test")
    names = await asyncio.gather(*(hands.submit(lambda: threading.current_thread().name) for _ in range(200)))
    hands.stop()
    assert len(set(names)) <= 3


async def test_what_a_job_sets_is_not_seen_by_the_next() -> None:
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 1, "test")
    await hands.submit(lambda: VARIABLE.set("mine"))
    assert await hands.submit(VARIABLE.get) == "unset"
    hands.stop()


async def test_stopped_threads_end() -> None:
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 2, "test")
    thread = await hands.submit(threading.current_thread)
    hands.stop()
    await asyncio.to_thread(thread.join)
    assert not thread.is_alive()


async def test_many_results_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    returns, wakes, got = Returns(loop), 0, list[int]()
    wake = loop.call_soon_threadsafe

    def counting(*args: object) -> object:
        nonlocal wakes
        wakes += 1
        return wake(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
    thread = threading.Thread(target=lambda: [returns.put(got.append, n) for n in range(1000)])
    thread.start()
    thread.join()  # the loop cannot run meanwhile
    await asyncio.sleep(0)
    assert got == list(range(1000))
    assert wakes == 1


def test_results_for_a_closed_loop_are_dropped() -> None:
    loop = asyncio.new_event_loop()
    returns = Returns(loop)
    loop.close()
    returns.put(print, "nobody hears this")


async def test_inline_hands_run_at_once_in_a_context_of_their_own() -> None:
    hands = InlineHands()
    assert hands.submit(lambda: 3).result() == 3
    hands.submit(lambda: VARIABLE.set("mine"))
    assert VARIABLE.get() == "unset"
    hands.stop()
