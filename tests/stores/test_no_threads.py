"""A store whose process can start no thread commits, reads, ends; and one without descriptors says so and goes on."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perdure.stores.api import ReadsBusy, StoreError
from perdure.stores.sqlite import SqliteStore, scans
from perdure.stores.sqlite.threads import Once
from perdure.stores.visibility.query import ALL
from tests.stores.given import APPLIED, Run, stored
from tests.stores.transacting import Step, insert, rows


@contextmanager
def no_threads() -> Generator[None]:
    """As under `ulimit -u`, or when memory for a stack is not to be had."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    setattr(threading.Thread, "start", refuse)
    try:
        yield
    finally:
        setattr(threading.Thread, "start", start)


async def test_a_store_does_without_threads_and_with_them_again(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_threads():
        await sqlite.open()
        runs = [Run(f"order-{number}") for number in range(5)]
        assert await sqlite.commit([run.commit() for run in runs]) == [APPLIED] * 5
        assert await sqlite.transact([Step(insert(1), Run("order-9").commit())]) == [APPLIED]
        assert await stored(sqlite, runs[0]) == (1, [1, 2])
        assert len(await sqlite.find_executions("default", ALL)) == 6
        monkeypatch.setattr(scans, "LONG_S", -1.0)
        monkeypatch.setattr(scans, "_STEPS", 1)
        with pytest.raises(ReadsBusy, match="no thread"):
            await sqlite.find_executions("default", ALL)
        monkeypatch.undo()
    assert await sqlite.commit([run.commit() for run in runs]) == [APPLIED] * 5
    assert len(await sqlite.find_executions("default", ALL)) == 6
    assert await rows(sqlite) == [1]
    assert await sqlite.check() == []
    with no_threads():
        await sqlite.close()
    await sqlite.open()
    assert await stored(sqlite, runs[0]) == (2, [1, 2, 3, 4])
    await sqlite.close()


async def test_work_that_was_done_here_is_not_done_again_by_a_thread_that_comes_later() -> None:
    done: list[int] = []
    once = Once(lambda: done.append(1) or "made")
    assert [once(), once(), once()] == ["made", None, None]
    assert done == [1]


@contextmanager
def no_descriptors() -> Generator[None]:
    """As many as are open, and no more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (held, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(held)


async def test_a_store_without_descriptors_commits_on_and_says_what_it_cannot_do(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    await sqlite.open()
    assert await sqlite.commit([Run("order-1").commit()]) == [APPLIED]
    with no_descriptors():
        assert await sqlite.commit([Run("order-2").commit()]) == [APPLIED]
        with pytest.raises(StoreError, match="ulimit -n"):
            await sqlite.find_executions("default", ALL)
        with pytest.raises(StoreError):
            await SqliteStore(tmp_path / "other.db").open()
    assert len(await sqlite.find_executions("default", ALL)) == 2
    await sqlite.close()
