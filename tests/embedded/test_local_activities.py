"""Local activities on the real engine: in threads, processes and on the loop; lost with their process, run again."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from perdure import CancelledError, Engine, Retry, activity, call_local, start_local, workflow
from perdure.testing import assert_replays

begun = threading.Event()
may_end = threading.Event()
keys: list[str] = []


@activity
def in_thread() -> tuple[str, bool]:
    return threading.current_thread().name, activity.info().is_local


@activity
async def on_loop() -> str:
    return threading.current_thread().name


@activity(run_in="process", retry=Retry(initial_interval="1ms"))
def in_process() -> tuple[int, bool]:
    return os.getpid(), activity.info().is_local


@activity
def waits_for_the_test() -> str:
    keys.append(activity.info().idempotency_key)
    begun.set()
    if len(keys) == 1:
        may_end.wait()
        return "nobody will see this"
    return "done"


@workflow
def everywhere() -> list[Any]:
    return [call_local(in_thread), call_local(on_loop), call_local(in_process)]


@workflow
async def many() -> int:
    handles = [start_local(in_thread) for _ in range(300)]
    return len([await handle for handle in handles])


@workflow
def interrupted() -> str:
    return call_local(waits_for_the_test)


def test_each_runs_where_it_is_declared_to() -> None:
    with Engine("memory://") as engine:
        (thread, is_local), loop_thread, (process, is_local_there) = engine.run(everywhere, id="w")
    assert thread.startswith("perdure-local") and is_local
    assert loop_thread != thread
    assert process != os.getpid() and is_local_there


def test_more_than_there_are_slots() -> None:
    with Engine("memory://") as engine:
        assert engine.run(many, id="w") == 300


def test_what_was_lost_before_its_task_completed_is_run_again_with_the_same_key(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/engine.db"
    engine = Engine(url).open()
    engine.start(interrupted, id="w")
    begun.wait()
    engine.close(at_once=True)
    may_end.set()
    with Engine(url) as engine:
        assert engine.get("w").result() == "done"
    assert len(keys) == 2 and keys[0] == keys[1]


begun, may_end = threading.Event(), threading.Event()
runs: list[int] = []


@activity(cancellation="wait")
def reserve(number: int) -> int:
    runs.append(number)
    begun.set()
    assert may_end.wait(60)
    return number


@workflow
def reserves() -> list[Any]:
    found: list[Any] = []
    try:
        found.append(call_local(reserve, 1))
        found.append(call_local(reserve, 2))
    except CancelledError:
        return ["cancelled", *found]
    return found


@workflow
async def reserves_async() -> list[Any]:
    found: list[Any] = []
    try:
        found.append(await start_local(reserve, 1))
        found.append(await start_local(reserve, 2))
    except asyncio.CancelledError:
        return ["cancelled", *found]
    return found


@pytest.mark.parametrize("body", [reserves, reserves_async])
def test_what_has_ended_well_is_not_lost_to_a_cancellation_that_comes_in_before_its_task_completes(body: Any) -> None:
    """The server refuses the end of the run, for it knows of the cancellation; what was done is done, and once."""
    begun.clear()
    may_end.clear()
    runs.clear()
    with Engine("memory://") as engine:
        handle = engine.start(body)
        assert begun.wait(60)
        handle.cancel()
        may_end.set()
        assert handle.result() == [1, 2]
        events = handle.history()
    assert runs == [1, 2]
    assert_replays(events, [body])
