"""Activities in processes of their own: results, failures, and processes that die."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perdure import (
    ActivityError,
    ApplicationError,
    Engine,
    Retry,
    WorkerConfig,
    WorkflowFailedError,
    activity,
    call,
    start,
    workflow,
)
from perdure.embedded import EngineSeams, seamed

AT_ONCE = Retry(initial_interval="1ms")
ONE_PROCESS = EngineSeams(worker_config=WorkerConfig(processes=1))


@activity(run_in="process", heartbeat_timeout="10s", retry=AT_ONCE)
def crunch(number: int) -> tuple[int, int]:
    activity.heartbeat(number)
    assert not activity.is_cancelled()
    return os.getpid(), sum(range(number))


@activity(run_in="process", retry=AT_ONCE)
def dies_twice() -> int:
    if activity.info().attempt < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return activity.info().attempt


@activity(run_in="process", retry=Retry(maximum_attempts=1))
def fails() -> None:
    raise ApplicationError("no", type="No", details=[1])


@activity(run_in="process", start_to_close_timeout="200ms", retry=Retry(maximum_attempts=1))
def never_ends() -> None:
    while True:
        pass


@workflow
def crunching() -> list[tuple[int, int]]:
    handles = [start(crunch, 1000) for _ in range(4)]
    return [handle.result() for handle in handles]


@workflow
def surviving() -> int:
    return call(dies_twice)


@workflow
def failing() -> None:
    call(fails)


@workflow
def killed() -> tuple[str, int]:
    try:
        call(never_ends)
    except ActivityError as error:
        return type(error.cause).__name__, call(crunch, 10)[1]
    return "it ended", 0


def test_activities_run_in_other_processes() -> None:
    with Engine("memory://") as engine:
        results = engine.run(crunching)
    assert {total for _, total in results} == {sum(range(1000))}
    assert os.getpid() not in {pid for pid, _ in results}


def test_a_process_that_dies_costs_an_attempt_and_no_more() -> None:
    with Engine("memory://") as engine:
        assert engine.run(surviving) == 3


def test_a_failure_comes_back_from_its_process() -> None:
    with Engine("memory://") as engine, pytest.raises(WorkflowFailedError) as raised:
        engine.run(failing)
    cause = raised.value.cause
    assert isinstance(cause, ActivityError)
    assert isinstance(cause.cause, ApplicationError)
    assert (cause.cause.type, cause.cause.details) == ("No", (1,))
    assert "in fails" in cause.cause.stack_trace


def test_an_attempt_whose_time_is_up_is_killed_and_its_place_is_free_again() -> None:
    with seamed(Engine, ONE_PROCESS, "memory://") as engine:
        assert engine.run(killed) == ("TimedOutError", sum(range(10)))


def test_a_process_that_dies_while_idle_is_replaced() -> None:
    with seamed(Engine, ONE_PROCESS, "memory://") as engine:
        first = engine.run(crunching)[0][0]
        watch = os.pidfd_open(first)
        os.kill(first, signal.SIGKILL)
        assert select.select([watch], [], [], 60)[0]
        os.close(watch)
        assert engine.run(crunching)[0][0] != first


ORPHAN = """
import os, signal, sys
from perdure import Engine, activity, call, workflow

@activity(run_in="process")
def spin(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    while True:
        pass

@workflow
def spinning(path):
    call(spin, path)

if __name__ == "__main__":
    os.mkfifo(sys.argv[1])
    Engine("memory://").open().start(spinning, sys.argv[1])
    with open(sys.argv[1]) as file:
        print(file.read(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_do_not_outlive_their_engine(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    command = [sys.executable, str(script), str(tmp_path / "pid")]
    parent = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert parent.returncode == -signal.SIGKILL
    try:
        child = os.pidfd_open(int(parent.stdout))
    except ProcessLookupError:
        return  # gone already
    try:
        # Readable when the process has ended: waits for that and for nothing else.
        assert select.select([child], [], [], 60)[0]
    finally:
        os.close(child)
