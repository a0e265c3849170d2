"""`@activity(transactional=True)` on PostgreSQL: a user's rows and the completion, in one transaction of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from perdure import (
    ActivityError,
    ApplicationError,
    AsyncEngine,
    Engine,
    Retry,
    Transaction,
    WorkflowFailedError,
    activity,
    call,
    start,
    workflow,
)
from perdure.idempotency import IdempotencyKeys
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server
from tests.stores.postgres.proxy import proxied

ONCE = Retry(maximum_attempts=1)
QUICK = Retry(initial_interval="1ms", maximum_attempts=3)


@activity(transactional=True, retry=ONCE)
def take_seat(tx: Transaction, seat: int, guest: str) -> str:
    tx.execute("INSERT INTO seats VALUES (?, ?)", (seat, guest))
    if guest == "trouble":
        raise ApplicationError("not this one", non_retryable=True)
    return f"{guest} on {seat}"


@activity(transactional=True, retry=QUICK)
def third_time(tx: Transaction, seat: int) -> int:
    attempt = activity.info().attempt
    tx.execute("INSERT INTO seats VALUES (%s, %s)", (seat, f"attempt {attempt}"))
    if attempt < 3:
        raise RuntimeError("not yet")
    return attempt


@activity(transactional=True, retry=ONCE)
def careless(tx: Transaction) -> None:
    try:
        tx.execute("INSERT INTO nowhere VALUES (1)")
    except Exception as error:
        activity.logger.info("never mind: %s", error)


keys = IdempotencyKeys("seats")


@activity(transactional=True, retry=ONCE)
def by_key(tx: Transaction, seat: int) -> int:
    keys.create_table(tx)
    keys.once(tx, f"seat {seat}", None, lambda: tx.execute("INSERT INTO seats VALUES (%s, 'by key')", (seat,)).rowcount)
    return keys.once(tx, f"seat {seat}", None, lambda: 1 // 0)


@workflow
def seat_guest(seat: int, guest: str) -> str:
    return call(take_seat, seat, guest)


@workflow
def seat_at_last(seat: int) -> int:
    return call(third_time, seat)


@workflow
def seat_carelessly() -> None:
    call(careless)


@workflow
def seat_by_key(seat: int) -> int:
    return call(by_key, seat)


@workflow
async def seat_many(count: int) -> list[str]:
    return list(await asyncio.gather(*(start(take_seat, seat, f"guest {seat}") for seat in range(count))))


@pytest.fixture
def database(postgres_server: Server, postgres_database: str) -> str:
    dsn = conninfo(postgres_server, postgres_database)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE seats (seat integer UNIQUE, guest text NOT NULL)")
    return dsn


@pytest.fixture
def address(postgres_server: Server, postgres_database: str, database: str) -> str:
    return url(postgres_server, postgres_database)


def seats(database: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as connection:
        return connection.execute("SELECT seat, guest FROM seats ORDER BY seat").fetchall()


def cause_of(failing: Callable[[], object]) -> ApplicationError:
    with pytest.raises(WorkflowFailedError) as failed:
        failing()
    assert isinstance(failed.value.cause, ActivityError)
    assert isinstance(failed.value.cause.cause, ApplicationError)
    return failed.value.cause.cause


def test_what_succeeds_is_kept_and_what_fails_leaves_nothing(address: str, database: str) -> None:
    with Engine(address) as engine:
        assert engine.run(seat_guest, 7, "ada", id="seven") == "ada on 7"
        assert cause_of(lambda: engine.run(seat_guest, 8, "trouble", id="eight")).message == "not this one"
        assert engine.run(seat_at_last, 9, id="nine") == 3
        taken = cause_of(lambda: engine.run(seat_guest, 7, "bob", id="seven again"))
        assert taken.type == "UniqueViolationError"
        assert "behind a savepoint" in cause_of(lambda: engine.run(seat_carelessly, id="careless")).message
        assert engine.run(seat_by_key, 10, id="ten") == 1
        assert seats(database) == [(7, "ada"), (9, "attempt 3"), (10, "by key")]


async def test_many_at_once_on_two_engines(address: str, database: str) -> None:
    async with AsyncEngine(address) as one, AsyncEngine(address) as two:
        assert await one.run(seat_many, 20, id="many") == [f"guest {seat} on {seat}" for seat in range(20)]
        runs = [two.run(seat_guest, seat, "eve", id=f"seat {seat}") for seat in range(20, 40)]
        assert await asyncio.gather(*runs) == [f"eve on {seat}" for seat in range(20, 40)]
    assert [seat for seat, _ in seats(database)] == list(range(40))


async def test_connections_that_are_cut_cost_nothing(address: str, database: str) -> None:
    async with proxied(address) as (proxy, through), AsyncEngine(through) as engine:
        runs = [asyncio.ensure_future(engine.run(seat_guest, seat, "eve", id=f"seat {seat}")) for seat in range(40)]
        for share in range(1, 4):
            await asyncio.wait(runs[: share * 10])
            proxy.cut_all()
        outcomes = await asyncio.gather(*runs, return_exceptions=True)
    there = {seat for seat, _ in seats(database)}
    assert {seat for seat, outcome in enumerate(outcomes) if outcome == f"eve on {seat}"} == there
    assert len(seats(database)) == len(there)
    refused = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert all(isinstance(one, WorkflowFailedError) for one in refused), "one attempt: lost with its connection"
