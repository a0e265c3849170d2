"""Work to threads and back."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from types import SimpleNamespace
from typing import cast

import pytest

from perdure.sdk.convert import Converter
from perdure.sdk.worker import handover, processes
from perdure.sdk.worker.attempt import Attempt
from perdure.sdk.worker.handover import InlineHands, Returns, ThreadHands
from perdure.sdk.worker.raised import Raised

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


class Late:
    """Threads that were started and do not come before `come`; and looks at the jobs that wait for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
        self.threads: list[threading.Thread] = []
        self.has_looked = asyncio.Event()
        self._looks = looks
        self._start = threading.Thread.start
        look = ThreadHands._relieve

        def looking(hands: ThreadHands) -> None:
            look(hands)
            self._looks -= 1
            if not self._looks:
                self.has_looked.set()

        monkeypatch.setattr(threading.Thread, "start", lambda thread: self.threads.append(thread))
        monkeypatch.setattr(ThreadHands, "_relieve", looking)

    def come(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threading.Thread, "start", self._start)
        for thread in self.threads:
            self._start(thread)


async def test_nobody_is_woken_while_a_thread_that_was_woken_has_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    late = Late(monkeypatch, looks=5)
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 40, "test")
    waiting = [hands.submit(lambda n=n: n) for n in range(100)]
    async with asyncio.timeout(60):
        await late.has_looked.wait()
        assert len(late.threads) == 1
        late.come(monkeypatch)
        assert await asyncio.gather(*waiting) == list(range(100))
    hands.stop()


async def test_jobs_that_go_fast_wake_nobody_and_jobs_that_stand_do(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 40, "test")
    monkeypatch.setattr(threading.Thread, "start", lambda _: None)  # nothing is taken but what this test takes
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda *_: None)  # and it looks when it likes
    for _ in range(100):
        hands.submit(lambda: None)

    def look(taken: int) -> int:
        """How many were woken by a look, with so many jobs taken since the one before."""
        for _ in range(taken):
            hands._jobs.popleft()
        before = hands._threads
        hands._relieve()
        return hands._threads - before

    assert [look(taken) for taken in (0, 1, 1, 1, 3, 50, 40)] == [0, 2, 0, 4, 0, 0, 0]


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


# --- no thread to be had ------------------------------------------------------------------------------


class Scarce:
    """The system gives no thread while `is_short`; counts how often it was asked for one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_short = True
        self.asked = 0
        self.enough = asyncio.Event()
        """It was asked thirty times: far more often than threads are allowed."""
        self._start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", lambda thread: self.start(thread))
        monkeypatch.setattr(handover, "SHORT_S", 0.001)

    def start(self, thread: threading.Thread) -> None:
        self.asked += 1
        if self.asked == 30:
            self.enough.set()
        if self.is_short:
            raise RuntimeError("can't start new thread")
        self._start(thread)


async def test_jobs_wait_for_a_thread_that_the_system_does_not_give_yet(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    system = Scarce(monkeypatch)
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 4, "test")
    waiting = [hands.submit(lambda n=n: n) for n in range(20)]
    async with asyncio.timeout(60):
        await system.enough.wait()
        assert not any(one.done() for one in waiting)
        system.is_short = False
        assert await asyncio.gather(*waiting) == list(range(20))
        assert await hands.submit(lambda: "and goes on") == "and goes on"
    assert len([one for one in caplog.records if "no thread can be had" in one.getMessage()]) == 1
    hands.stop()


async def test_a_worker_that_cannot_have_a_single_thread_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    system = Scarce(monkeypatch)
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 4, "test")
    with pytest.raises(RuntimeError, match="not even one for activities"):
        hands.begin()
    system.is_short = False
    hands.begin()
    hands.begin()
    assert system.asked == 2
    assert await hands.submit(lambda: 7) == 7
    hands.stop()


async def test_threads_that_are_there_do_the_work_of_those_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    system = Scarce(monkeypatch)
    system.is_short = False
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 4, "test")
    async with asyncio.timeout(60):
        await hands.submit(lambda: None)
        system.is_short = True
        assert await asyncio.gather(*(hands.submit(lambda n=n: n) for n in range(200))) == list(range(200))
        free = threading.Event()
        blocked = hands.submit(lambda: free.wait(60))
        others = [hands.submit(lambda n=n: n) for n in range(5)]
        await system.enough.wait()
        free.set()
        assert await asyncio.gather(blocked, *others) == [True, *range(5)]
    hands.stop()


async def test_who_waits_for_a_process_is_not_forgotten_when_others_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refused:
        def __init__(self, *_: object) -> None:
            raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(processes, "_Lane", Refused)
    hands = processes.ProcessHands(Returns(asyncio.get_running_loop()), Converter(), 2, "queue")
    attempts = [cast(Attempt, SimpleNamespace(on_stop=None, stop=None)) for _ in range(6)]
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*(hands.run(one) for one in attempts))
    assert all(isinstance(one, Raised) and "Cannot allocate memory" in one.failure.message for one in outcomes)
