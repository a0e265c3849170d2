"""The one thread in which a store waits for its disk."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from perdure.stores.sqlite.threads import OneThread
from perdure.testing import VirtualTimeLoop, run_virtual
from tests.stores.test_no_threads import no_threads

WAIT_S = 30


async def test_work_is_done_in_one_thread_in_its_order_and_its_errors_are_whoever_asked_for_its() -> None:
    thread, done = OneThread("one"), list[tuple[int, int]]()

    def work(number: int) -> int:
        done.append((number, threading.get_ident()))
        return number if number != 3 else number // 0

    results = await asyncio.gather(*(thread.do(lambda n=n: work(n)) for n in range(5)), return_exceptions=True)
    assert [results[n] for n in (0, 1, 2, 4)] == [0, 1, 2, 4]
    assert isinstance(results[3], ZeroDivisionError)
    assert [number for number, _ in done] == [0, 1, 2, 3, 4]
    [ident] = {ident for _, ident in done}
    assert ident != threading.get_ident()
    thread.stop()
    thread.stop()
    assert ident not in [other.ident for other in threading.enumerate()]


async def test_who_is_cancelled_again_and_again_goes_on_when_the_work_is_over_and_not_before() -> None:
    thread, begun, may_end, ended = OneThread("one"), threading.Event(), threading.Event(), list[bool]()

    def work() -> None:
        begun.set()
        ended.append(may_end.wait(WAIT_S))

    asking = asyncio.ensure_future(thread.do(work))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(begun.wait, WAIT_S)
    for _ in range(3):
        asking.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not asking.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert ended == [True]
    thread.stop()


async def test_a_thread_whose_owner_is_forgotten_ends() -> None:
    thread = OneThread("forgotten")
    await thread.do(threading.get_ident)
    [running] = [other for other in threading.enumerate() if other.name == "forgotten"]
    del thread
    gc.collect()
    await asyncio.to_thread(running.join, WAIT_S)
    assert not running.is_alive()


async def test_without_a_thread_the_work_is_done_here_and_with_one_again_there() -> None:
    thread = OneThread("one")
    with no_threads():
        assert await thread.do(threading.get_ident) == threading.get_ident()
    assert await thread.do(threading.get_ident) != threading.get_ident()
    thread.stop()


def test_a_loop_that_hears_of_no_threads_does_the_work_itself() -> None:
    async def main(_: VirtualTimeLoop) -> int:
        return await OneThread("one").do(threading.get_ident)

    assert run_virtual(main) == threading.get_ident()
