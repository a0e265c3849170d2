"""`@activity(transactional=True)`: a user's rows and the completion, in one transaction of the engine's database."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure import (
    ActivityError,
    ApplicationError,
    Engine,
    Retry,
    Transaction,
    WorkflowFailedError,
    activity,
    call,
    start,
    workflow,
)
from perdure.embedded import EngineSeams, seamed
from perdure.errors import DefinitionError
from perdure.stores.api import Store
from perdure.stores.sqlite import SqliteStore
from tests.servers.fixtures import conninfo, url

ONCE = Retry(maximum_attempts=1)
QUICK = Retry(initial_interval="1ms", maximum_attempts=3)


@activity(transactional=True)
def make_table(tx: Transaction) -> None:
    tx.execute("CREATE TABLE seats (seat INTEGER PRIMARY KEY, guest TEXT NOT NULL UNIQUE)")


@activity(transactional=True, retry=ONCE)
def take_seat(tx: Transaction, seat: int, guest: str = "nobody") -> str:
    tx.execute("INSERT INTO seats VALUES (?, ?)", (seat, guest))
    if guest == "trouble":
        raise ApplicationError("not this one", non_retryable=True)
    return f"{guest} on {seat} in {activity.info().workflow_id}"


@activity(transactional=True, retry=QUICK)
def third_time(tx: Transaction, seat: int) -> int:
    attempt = activity.info().attempt
    tx.execute("INSERT INTO seats VALUES (?, ?)", (seat, f"attempt {attempt}"))
    if attempt < 3:
        raise RuntimeError("not yet")
    return attempt


@activity(transactional=True, retry=ONCE)
def boast(tx: Transaction, seat: int) -> str:
    tx.execute("INSERT INTO seats VALUES (?, 'boaster')", (seat,))
    return "x" * 3_000_000


@workflow
def seat_guest(seat: int, guest: str) -> str:
    return call(take_seat, seat, guest)


@workflow
def seat_by_default(seat: int) -> str:
    return call(take_seat.options(start_to_close_timeout="5s"), seat=seat)


@workflow
def seat_at_last(seat: int) -> int:
    return call(third_time, seat)


@workflow
def seat_boaster(seat: int) -> str:
    return call(boast, seat)


@workflow
async def seat_many(count: int) -> list[str]:
    return list(await asyncio.gather(*(start(take_seat, seat, f"guest {seat}") for seat in range(count))))


@workflow
def prepare() -> None:
    call(make_table)


WORKFLOWS = [seat_guest, seat_by_default, seat_at_last, seat_boaster, seat_many, prepare]
ACTIVITIES: list[Any] = [make_table, take_seat, third_time, boast]


class Hotel:
    """An engine's database, in which there is a table of seats as well once `prepare` was run."""

    def __init__(self, url: str, connect: Callable[[], Any]) -> None:
        self.url = url
        self._connect = connect

    def engine(
        self, workflows: Sequence[Any] = (), activities: Sequence[Any] = (), store: Store | None = None
    ) -> Engine:
        workflows, activities = [*WORKFLOWS, *workflows], [*ACTIVITIES, *activities]
        return seamed(Engine, EngineSeams(store=store), self.url, workflows=workflows, activities=activities)

    def seats(self) -> list[tuple[int, str]]:
        """As they are seen from outside."""
        connection = self._connect()
        try:
            return connection.execute("SELECT seat, guest FROM seats ORDER BY seat").fetchall()
        finally:
            connection.close()


def kinds(events: list[HistoryEvent]) -> list[str]:
    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hotel.db"


@pytest.fixture(params=["sqlite", "postgres"])
def hotel(request: pytest.FixtureRequest, file: Path) -> Hotel:
    """On each kind of store that can do it."""
    if request.param == "sqlite":
        return on_sqlite(file)
    server, database = (request.getfixturevalue(f"postgres_{what}") for what in ("server", "database"))
    return Hotel(url(server, database), lambda: psycopg.connect(conninfo(server, database)))


def on_sqlite(file: Path) -> Hotel:
    return Hotel(f"sqlite:///{file}", lambda: sqlite3.connect(file))


def test_the_rows_are_there_and_history_says_so(hotel: Hotel) -> None:
    with hotel.engine() as engine:
        engine.run(prepare, id="prepare")
        assert engine.run(seat_guest, 7, "ada", id="w") == "ada on 7 in w"
        assert hotel.seats() == [(7, "ada")]
        assert kinds(engine.get("w").history())[4:7] == [
            "ACTIVITY_TASK_SCHEDULED",
            "ACTIVITY_TASK_STARTED",
            "ACTIVITY_TASK_COMPLETED",
        ]


def test_keywords_defaults_and_options_leave_the_transaction_out(hotel: Hotel) -> None:
    with hotel.engine() as engine:
        engine.run(prepare, id="prepare")
        assert engine.run(seat_by_default, 3, id="w") == "nobody on 3 in w"


def test_a_function_that_raises_leaves_no_row(hotel: Hotel) -> None:
    with hotel.engine() as engine:
        engine.run(prepare, id="prepare")
        with pytest.raises(WorkflowFailedError) as failed:
            engine.run(seat_guest, 7, "trouble", id="w")
        assert isinstance(failed.value.cause, ActivityError)
        assert isinstance(failed.value.cause.cause, ApplicationError)
        assert failed.value.cause.cause.message == "not this one"
        assert hotel.seats() == []


def test_failed_attempts_are_rolled_back_and_tried_again(hotel: Hotel) -> None:
    with hotel.engine() as engine:
        engine.run(prepare, id="prepare")
        assert engine.run(seat_at_last, 1, id="w") == 3
        assert hotel.seats() == [(1, "attempt 3")]


def test_what_the_database_refuses_fails_the_attempt(hotel: Hotel) -> None:
    with hotel.engine() as engine:
        engine.run(prepare, id="prepare")
        engine.run(seat_guest, 1, "ada", id="first")
        with pytest.raises(WorkflowFailedError, match=r"(?i)unique constraint"):
            engine.run(seat_guest, 1, "bob", id="second")
        assert hotel.seats() == [(1, "ada")]


def test_a_result_that_is_too_large_takes_its_row_along(hotel: Hotel) -> None:
    with hotel.engine() as engine:
        engine.run(prepare, id="prepare")
        with pytest.raises(WorkflowFailedError, match="3,000,002 bytes are more than"):
            engine.run(seat_boaster, 1, id="w")
        assert hotel.seats() == []


def test_many_at_once(hotel: Hotel) -> None:
    with hotel.engine() as engine:
        engine.run(prepare, id="prepare")
        handles = [engine.start(seat_guest, 1000 + n, f"lone {n}", id=f"w{n}") for n in range(30)]
        assert engine.run(seat_many, 50, id="many") == [f"guest {n} on {n} in many" for n in range(50)]
        assert [handle.result() for handle in handles] == [f"lone {n} on {1000 + n} in w{n}" for n in range(30)]
        assert len(hotel.seats()) == 80


def test_a_store_that_fails_is_asked_again_with_nothing_kept(file: Path) -> None:
    store, hotel = FailingStore(file), on_sqlite(file)
    with hotel.engine(store=store) as engine:
        engine.run(prepare, id="prepare")
        store.failures = 2
        assert engine.run(seat_guest, 7, "ada", id="w") == "ada on 7 in w"
    assert store.failures == 0
    assert hotel.seats() == [(7, "ada")]


class FailingStore(SqliteStore):
    """Some of its transactions of users fail at the last moment: nothing of them is kept."""

    failures = 0

    async def transact(self, deferred: Any) -> Any:
        if not self.failures:
            return await super().transact(deferred)
        self.failures -= 1
        file = self._opened()
        finish, file.writer.finish = file.writer.finish, full_disk
        try:
            return await super().transact(deferred)
        finally:
            file.writer.finish = finish


def full_disk() -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


def test_a_workflow_that_is_terminated_meanwhile_gets_no_row(hotel: Hotel) -> None:
    entered, go_on = threading.Event(), threading.Event()

    @activity(transactional=True, name="slow", retry=ONCE)
    def slow(tx: Transaction) -> None:
        tx.execute("INSERT INTO seats VALUES (1, 'late')")
        entered.set()
        go_on.wait(30)

    @workflow(name="slow_workflow")
    def slow_workflow() -> None:
        call(slow)

    with hotel.engine([slow_workflow], [slow]) as engine:
        engine.run(prepare, id="prepare")
        handle = engine.start(slow_workflow, id="w")
        entered.wait(30)
        ending = threading.Thread(target=handle.terminate, args=("enough",))
        ending.start()  # waits for the commit under way, as any command on this workflow does
        go_on.set()
        ending.join(30)
        has_row = hotel.seats() == [(1, "late")]
        assert ("ACTIVITY_TASK_COMPLETED" in kinds(engine.get("w").history())) == has_row


def test_on_a_memory_store_the_tables_are_in_memory() -> None:
    with Engine("memory://", workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        engine.run(prepare, id="prepare")
        assert engine.run(seat_guest, 7, "ada", id="w") == "ada on 7 in w"
        with pytest.raises(WorkflowFailedError, match="UNIQUE constraint failed"):
            engine.run(seat_guest, 7, "bob", id="second")


class PlainStore:
    """A store that cannot lend its transactions."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return None if name == "transactional" else getattr(self._inner, name)


def test_another_store_is_a_clear_error(file: Path) -> None:
    store: Any = PlainStore(SqliteStore(file))
    with (
        on_sqlite(file).engine(store=store) as engine,
        pytest.raises(WorkflowFailedError, match="transactional activities need an embedded engine on SQLite"),
    ):
        engine.run(prepare, id="prepare")


def test_called_directly_it_is_the_plain_function() -> None:
    connection = sqlite3.connect(":memory:")
    try:
        make_table(connection)
        with pytest.raises(ApplicationError):
            take_seat(connection, 1, "trouble")
        assert connection.execute("SELECT guest FROM seats").fetchall() == [("trouble",)]
    finally:
        connection.close()


def test_declarations_that_cannot_be() -> None:
    async def on_the_loop(tx: Any) -> None: ...

    def in_a_process(tx: Any) -> None: ...

    def without_a_place() -> None: ...

    declare: Any = activity
    with pytest.raises(DefinitionError, match="a plain `def` in a thread"):
        declare(transactional=True)(on_the_loop)
    with pytest.raises(DefinitionError, match=r"in a thread|cannot import it"):
        declare(transactional=True, run_in="process")(in_a_process)
    with pytest.raises(DefinitionError, match="its first parameter is the transaction"):
        declare(transactional=True)(without_a_place)
