"""`run_forever`: a worker of its own process is told to end, and what it has in hand ends with it or is kept."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType

from perdure import Engine, EngineError
from perdure.errors import EngineClosedError
from perdure.testing import TestEngine
from tests.embedded import forever_process
from tests.eventually import eventually

PATIENCE_S = 60


@contextmanager
def worker(database: Path, how: str, grace: str) -> Iterator[subprocess.Popen[str]]:
    """One whose first activity runs."""
    command = [sys.executable, "-m", "tests.embedded.forever_process", str(database), how, grace]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], says: str | None = None) -> list[str]:
    """What it said until its end, which must be a good one."""
    output, errors = process.communicate(says, timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output.splitlines()


@pytest.mark.parametrize("how", ["blocking", "async"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_ends_and_nothing_else_begins(tmp_path: Path, how: str, number: signal.Signals) -> None:
    database = tmp_path / "forever.db"
    with worker(database, how, "1h") as process:
        process.send_signal(number)
        assert ended(process, "go\n") == ["ended", "behind"]
    with Engine(f"sqlite:///{database}") as engine:
        assert engine.get("both").result(timeout=PATIENCE_S) == ["first", "second"]
        kinds = [event.event_type for event in engine.get("both").history()]
        assert kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED) == 2


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_who_takes_longer_than_the_grace_period_is_asked_to_stop(tmp_path: Path, how: str) -> None:
    with worker(tmp_path / "forever.db", how, "10ms") as process:
        process.send_signal(signal.SIGTERM)
        assert ended(process) == ["stopped", "behind"]


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_told_a_second_time_it_stops_at_once(tmp_path: Path, how: str) -> None:
    database = tmp_path / "forever.db"
    with worker(database, how, "1h") as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert ended(process) == ["stopped", "behind"]
    forever_process.told.set()
    try:
        with Engine(f"sqlite:///{database}") as engine:
            assert engine.get("both").result(timeout=PATIENCE_S) == ["first", "second"], "it was run again"
    finally:
        forever_process.told.clear()


def test_it_opens_the_engine_and_ends_when_somebody_closes_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    engine = Engine("memory://")

    def close() -> None:
        eventually(lambda: signal.getsignal(signal.SIGTERM) is not before, "run_forever to listen")
        engine.close()

    closer = threading.Thread(target=close)
    closer.start()
    engine.run_forever()
    closer.join()
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(EngineClosedError):
        engine.count()


def test_beside_the_main_thread_closing_ends_it() -> None:
    with Engine("memory://") as engine:
        forever = threading.Thread(target=engine.run_forever)
        forever.start()
        engine.close()
        forever.join(PATIENCE_S)
        assert not forever.is_alive()


def test_a_closed_engine_and_a_test_engine_do_not_run_for_ever() -> None:
    engine = Engine("memory://").open()
    engine.close()
    engine.run_forever()
    with TestEngine() as test, pytest.raises(EngineError, match=r"call advance\(...\)"):
        test.run_forever()
