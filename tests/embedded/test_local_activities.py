"""Local activities on the real engine: in threads, processes and on the loop; lost with their process, run again."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from perdure import Engine, Retry, activity, call_local, start_local, workflow

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
