"""Time on the virtual loop moves when nothing else can, and not otherwise."""

from __future__ import annotations

import asyncio
import threading

import pytest

from perdure.testing import DeadlockError, VirtualClock, VirtualTimeLoop, run_virtual

DAY = 86400
SECOND_NS = 1_000_000_000


def test_thirty_days_pass_when_nothing_else_is_to_be_done() -> None:
    async def main(loop: VirtualTimeLoop) -> int:
        clock = VirtualClock(loop)
        began = clock.now_ns()
        await asyncio.sleep(30 * DAY)
        return clock.now_ns() - began

    assert run_virtual(main) == 30 * DAY * SECOND_NS


def test_time_stands_still_while_callbacks_are_ready() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.time()

    assert run_virtual(main) == 0.0


def test_timers_fire_in_order_whatever_order_they_were_set_in() -> None:
    async def main(loop: VirtualTimeLoop) -> list[int]:
        seen: list[int] = []
        for seconds in (3, 1, 2):
            loop.call_later(seconds, seen.append, seconds)
        await asyncio.sleep(4)
        return seen

    assert run_virtual(main) == [1, 2, 3]


def test_a_timer_is_due_once_the_clock_has_jumped_to_it() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        for step in range(1, 2000):
            deadline_ns = loop.now_ns + step * 333_333_333
            await asyncio.sleep((deadline_ns - loop.now_ns) / SECOND_NS)
            assert loop.now_ns >= deadline_ns - 1

    run_virtual(main)


def test_a_timer_is_due_even_where_a_nanosecond_is_lost_in_a_float() -> None:
    async def main(loop: VirtualTimeLoop) -> int:
        loop.advance(100 * 365 * DAY * SECOND_NS + 893_513)
        fired: list[float] = []
        for _ in range(100):
            loop.call_at(loop.time(), fired.append, loop.time())
            await asyncio.sleep(1e-9)
        return len(fired)

    assert run_virtual(main) == 100


def test_waiting_for_what_cannot_come_is_an_error_and_not_a_hang() -> None:
    async def main(_: VirtualTimeLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="can never happen"):
        run_virtual(main)


def test_executors_run_inline() -> None:
    async def main(_: VirtualTimeLoop) -> int:
        return await asyncio.to_thread(threading.get_ident)

    assert run_virtual(main) == threading.get_ident()


def test_an_executor_hands_on_what_its_function_raises() -> None:
    async def main(_: VirtualTimeLoop) -> None:
        await asyncio.to_thread(int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        run_virtual(main)


def test_a_time_out_comes_at_its_time() -> None:
    async def main(loop: VirtualTimeLoop) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(90):
                await asyncio.Event().wait()
        return loop.time()

    assert run_virtual(main) == pytest.approx(90)


def test_what_is_abandoned_gets_no_last_word() -> None:
    said: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            said.append("cancelled")
        finally:
            await asyncio.sleep(1)
            said.append("tidied up")

    async def main(loop: VirtualTimeLoop) -> asyncio.Task[None]:
        task = loop.create_task(stubborn())
        await asyncio.sleep(1)
        return task

    task = run_virtual(main)
    assert said == []
    assert not task.done()


def test_clean_up_of_what_is_abandoned_is_given_no_other_loop() -> None:
    async def work() -> None:
        """Never begun."""

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.gather(work())

    async def main(loop: VirtualTimeLoop) -> asyncio.Task[None]:
        task = loop.create_task(stubborn())
        await asyncio.sleep(1)
        return task

    asyncio.set_event_loop_policy(None)  # nobody has had a loop yet
    run_virtual(main)
    with pytest.raises(RuntimeError, match="no current event loop"):
        asyncio.get_event_loop()
