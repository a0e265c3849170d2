"""The test engine skips time, stands still between calls, and says what it waits for in vain."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perdure import (
    Engine,
    Retry,
    Transaction,
    WorkflowFailedError,
    WorkflowNotFoundError,
    WorkflowStatus,
    activity,
    call,
    workflow,
)
from perdure.errors import DeterminismViolation, EngineClosedError, EngineError
from perdure.testing import AsyncTestEngine, DeadlockError, TestEngine, VirtualTimeLoop, virtual_time
from tests.testing.shop import ACTIVITIES, WORKFLOWS, Order, forget, fulfil, ship, subscribe

ORDER = Order("1001", 4200)
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_year_of_sleeps_passes_at_once(engine: TestEngine) -> None:
    engine.mock("shop.charge", returns="paid")
    assert engine.run(subscribe, ORDER, 12, id="w") == ["paid"] * 12
    assert engine.now() == BEGIN + 360 * DAY


def test_time_stands_still_between_calls_and_what_needs_none_has_happened(engine: TestEngine) -> None:
    mock = engine.mock("shop.charge", returns="paid")
    handle = engine.start(subscribe, ORDER, 2, id="w")
    assert (len(mock.calls), engine.now()) == (1, BEGIN)
    engine.advance("29 days")
    assert len(mock.calls) == 1
    engine.advance(days_s(1))
    assert (len(mock.calls), engine.now()) == (2, BEGIN + 30 * DAY)
    assert handle.describe().status is WorkflowStatus.RUNNING
    assert handle.result() == ["paid", "paid"]


def days_s(days: float) -> float:
    return days * 86400


def test_activities_that_wait_are_skipped_too(engine: TestEngine) -> None:
    engine.mock("shop.charge", returns="paid")
    assert engine.run(fulfil, ORDER, id="w") == "paid, 1001 by plane"
    assert engine.now() == BEGIN + timedelta(hours=1)


def test_retries_are_made_without_their_pauses(engine: TestEngine) -> None:
    mock = engine.mock("shop.charge", raises=OSError("no network"))
    with pytest.raises(WorkflowFailedError, match="no network"):
        engine.run(subscribe, ORDER, 1, id="w")
    assert len(mock.calls) == 4
    assert engine.now() == BEGIN + timedelta(seconds=1 + 2 + 4)


def test_waiting_for_what_never_comes_is_an_error_that_names_it(engine: TestEngine) -> None:
    with pytest.raises(
        DeadlockError, match=r"3650 days .*\n.*shop\.forget 'w': its last event is 4 WorkflowTaskComp"
    ) as e:
        engine.run(forget, ORDER, id="w")
    assert "it waits for a message (a signal, an update)" in str(e.value) and "code waits at shop.py:" in str(e.value)
    with pytest.raises(
        TimeoutError, match=r"'w' has not closed within 1h: it waits for a message .* at shop.py:.*; it goes"
    ):
        engine.get("w").result(timeout="1h")
    engine.get("w").terminate("enough")
    assert engine.get("w").describe().status is WorkflowStatus.TERMINATED


def test_an_activity_that_fails_for_ever_is_an_error_that_names_it() -> None:
    @activity(name="testing.hopeless")
    def hopeless() -> None:
        raise OSError("no route to host")

    @workflow(name="testing.hopes")
    def hopes() -> None:
        call(hopeless)

    with TestEngine(workflows=[hopes], activities=[hopeless], steps=5_000, attempts=10_000) as engine:
        with pytest.raises(DeadlockError, match=r"(?s)followed 5,000 steps to .*\n    attempt \d+ of act"):
            engine.run(hopes, id="w")
        engine.mock("testing.hopeless", returns=None)
        engine.get("w").result()


def test_an_attempt_whose_time_is_up_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    @activity(name="testing.slow", start_to_close_timeout="10s", retry=Retry(maximum_attempts=2))
    async def slow() -> None:
        await asyncio.sleep(3600)

    @workflow(name="testing.waits")
    def waits() -> None:
        call(slow)

    with TestEngine(workflows=[waits], activities=[slow]) as engine, pytest.raises(WorkflowFailedError):
        engine.run(waits, id="w")
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    said = [record.getMessage() for record in told if record.name == "perdure.worker"]
    assert [line.removeprefix("activity testing.slow of workflow 'w' failed ") for line in said] == [
        "(attempt 1, next try in 1 s): TimedOutError: not done within 10 s",
        "(attempt 2, the last): TimedOutError: not done within 10 s",
    ]


def test_patience_is_the_callers() -> None:
    with TestEngine(workflows=WORKFLOWS, activities=ACTIVITIES, patience="10 days") as engine:
        engine.mock("shop.charge", returns="paid")
        with pytest.raises(DeadlockError, match="waited for 10 days"):
            engine.run(subscribe, ORDER, 1, id="w")
        assert engine.now() == BEGIN + 10 * DAY


def test_the_same_seed_gives_the_same_ids_and_times() -> None:
    def once(seed: int) -> list[bytes]:
        with TestEngine(workflows=WORKFLOWS, activities=ACTIVITIES, seed=seed) as engine:
            engine.mock("shop.charge", returns="paid")
            engine.run(fulfil, ORDER, id="w")
            return [event.SerializeToString(deterministic=True) for event in engine.get("w").history()]

    assert once(1) == once(1)
    assert once(1) != once(2)


def test_a_test_begins_when_it_likes() -> None:
    leap_day = datetime(2028, 2, 28, 23, tzinfo=UTC)
    with TestEngine(workflows=WORKFLOWS, activities=ACTIVITIES, starts_at=leap_day) as engine:
        engine.mock("shop.charge", returns="paid")
        engine.run(fulfil, ORDER, id="w")
        assert engine.now() == datetime(2028, 2, 29, tzinfo=UTC)
        assert engine.get("w").describe().started_at == leap_day


def test_on_a_file_what_was_started_goes_on_in_the_next_engine(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/test.db"
    with TestEngine(url, workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        engine.mock("shop.charge", returns="paid")
        engine.start(subscribe, ORDER, 2, id="w")
    with TestEngine(url, workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        engine.mock("shop.charge", returns="paid later")
        assert engine.get("w").result() == ["paid", "paid later"]


def test_transactional_activities_work_on_the_store_in_memory() -> None:
    @activity(name="testing.book", transactional=True)
    def book(tx: Transaction, n: int) -> int:
        tx.execute("CREATE TABLE IF NOT EXISTS booked (n INTEGER UNIQUE)")
        tx.execute("INSERT INTO booked VALUES (?)", (n,))
        return tx.execute("SELECT count(*) FROM booked").fetchone()[0]

    @workflow(name="testing.booking")
    def booking(n: int) -> int:
        return call(book, n)

    with TestEngine(workflows=[booking], activities=[book]) as engine:
        assert [engine.run(booking, n, id=f"w{n}") for n in range(3)] == [1, 2, 3]


def test_activities_for_processes_run_here() -> None:
    with TestEngine(workflows=[add_up], activities=[add]) as engine:
        assert engine.run(add_up, 1, 2, id="w") == 3
    assert where == [threading.get_ident()]


where: list[int] = []


@activity(name="testing.add", run_in="process")
def add(a: int, b: int) -> int:
    where.append(threading.get_ident())
    return a + b


@workflow(name="testing.add_up")
def add_up(a: int, b: int) -> int:
    return call(add, a, b)


@virtual_time
async def test_async_tests_have_the_same_engine() -> None:
    async with TestEngine(workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        assert isinstance(engine, AsyncTestEngine)
        mock = engine.mock(ship, returns="shipped")
        engine.mock("shop.charge", returns="paid")
        handle = await engine.start(subscribe, ORDER, 2, id="s")
        assert await engine.run(fulfil, ORDER, id="w") == "paid, shipped"
        assert mock.calls == [(ORDER, True)]
        await engine.advance("61 days")
        assert engine.now() == BEGIN + 61 * DAY
        assert await handle.result() == ["paid", "paid"]


@virtual_time
async def test_an_async_test_that_waits_for_nothing_is_an_error() -> None:
    async with AsyncTestEngine(workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        with pytest.raises(TimeoutError):
            await (await engine.start(forget, ORDER, id="w")).result(timeout="9999 days")


def test_virtual_time_keeps_arguments_and_results() -> None:
    @virtual_time
    async def echo(word: str, *, times: int) -> str:
        return word * times

    assert echo("ab", times=2) == "abab"


async def test_a_loop_of_real_time_is_refused() -> None:
    with pytest.raises(EngineError, match="needs a loop of virtual time"):
        await TestEngine().__aenter__()


def test_before_and_after_its_block_it_says_so() -> None:
    engine = TestEngine(workflows=WORKFLOWS, activities=ACTIVITIES)
    with pytest.raises(EngineClosedError, match="not opened yet"):
        engine.count()
    with engine:
        assert engine.count() == 0
        with pytest.raises(EngineError, match="opened before"):
            engine.open()
    engine.close()
    with pytest.raises(EngineClosedError, match="closed"):
        engine.count()


def test_an_activity_that_asks_the_engine_that_runs_it_is_told(engine: TestEngine) -> None:
    engine.mock("shop.charge", lambda order: str(engine.count()))
    with pytest.raises(WorkflowFailedError, match="asked by an activity that it is running itself"):
        engine.run(subscribe, ORDER, 1, id="w")


def test_a_workflow_that_asks_the_engine_is_told() -> None:
    complaints: list[Exception] = []

    @workflow(name="testing.nosy")
    def nosy() -> None:
        try:
            engine.count()
        except DeterminismViolation as error:
            complaints.append(error)

    with TestEngine(workflows=[nosy], activities=[]) as engine:
        engine.run(nosy, id="w")
    assert "do it in an activity" in str(complaints[0])


def test_it_is_an_engine(engine: TestEngine) -> None:
    assert isinstance(engine, Engine)
    with pytest.raises(WorkflowNotFoundError):
        engine.get("nobody").describe()


def test_a_block_that_fails_closes_everything(tmp_path: Path) -> None:
    file = tmp_path / "test.db"
    with pytest.raises(ZeroDivisionError), TestEngine(f"sqlite:///{file}") as engine:
        assert 1 // engine.count()
    with TestEngine(f"sqlite:///{file}") as engine:
        assert engine.count() == 0
    connection = sqlite3.connect(file)
    connection.close()


def test_the_loop_knows_when_it_is_busy() -> None:
    loop = VirtualTimeLoop()
    try:
        assert not loop.is_busy()
        loop.call_soon(loop.stop)
        assert loop.is_busy()
        loop.run_forever()
    finally:
        loop.close()
