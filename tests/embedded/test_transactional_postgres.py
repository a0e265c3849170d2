"""`@activity(transactional=True)` on PostgreSQL alone: each function has a transaction of its own, on a connection.

What they are on every store: `test_transactional.py`.
"""

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
    Transaction,
    WorkflowFailedError,
    activity,
    call,
    workflow,
)
from perdure.idempotency import IdempotencyKeys
from tests.embedded import test_transactional as usual
from tests.embedded.test_transactional import ONCE, seat_guest, seat_many
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server
from tests.stores.postgres.proxy import proxied


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
def seat_carelessly() -> None:
    call(careless)


@workflow
def seat_by_key(seat: int) -> int:
    return call(by_key, seat)


WORKFLOWS = [*usual.WORKFLOWS, seat_carelessly, seat_by_key]
ACTIVITIES: list[Any] = [*usual.ACTIVITIES, careless, by_key]


@pytest.fixture
def address(postgres_server: Server, postgres_database: str) -> str:
    address = url(postgres_server, postgres_database)
    with Engine(address, workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        engine.run(usual.prepare, id="prepare")
    return address


@pytest.fixture
def database(postgres_server: Server, postgres_database: str) -> str:
    return conninfo(postgres_server, postgres_database)


def seats(database: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as connection:
        return connection.execute("SELECT seat, guest FROM seats ORDER BY seat").fetchall()


def engine_on(address: str) -> AsyncEngine:
    return AsyncEngine(address, workflows=WORKFLOWS, activities=ACTIVITIES)


def cause_of(failing: Callable[[], object]) -> ApplicationError:
    with pytest.raises(WorkflowFailedError) as failed:
        failing()
    assert isinstance(failed.value.cause, ActivityError)
    assert isinstance(failed.value.cause.cause, ApplicationError)
    return failed.value.cause.cause


def test_what_fails_is_told_in_the_words_of_the_database_and_keys_are_kept(address: str, database: str) -> None:
    with Engine(address, workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        assert engine.run(seat_guest, 7, "ada", id="seven") == "ada on 7 in seven"
        taken = cause_of(lambda: engine.run(seat_guest, 7, "bob", id="seven again"))
        assert taken.type == "UniqueViolationError"
        assert "behind a savepoint" in cause_of(lambda: engine.run(seat_carelessly, id="careless")).message
        assert engine.run(seat_by_key, 10, id="ten") == 1
        assert seats(database) == [(7, "ada"), (10, "by key")]


async def test_many_at_once_on_two_engines(address: str, database: str) -> None:
    async with engine_on(address) as one, engine_on(address) as two:
        assert await one.run(seat_many, 20, id="many") == [f"guest {seat} on {seat} in many" for seat in range(20)]
        runs = [two.run(seat_guest, seat, f"eve {seat}", id=f"seat {seat}") for seat in range(20, 40)]
        assert await asyncio.gather(*runs) == [f"eve {seat} on {seat} in seat {seat}" for seat in range(20, 40)]
    assert [seat for seat, _ in seats(database)] == list(range(40))


async def test_connections_that_are_cut_cost_nothing(address: str, database: str) -> None:
    async with proxied(address) as (proxy, through), engine_on(through) as engine:
        asked = [engine.run(seat_guest, seat, f"eve {seat}", id=f"seat {seat}") for seat in range(40)]
        runs = [asyncio.ensure_future(run) for run in asked]
        for share in range(1, 4):
            await asyncio.wait(runs[: share * 10])
            proxy.cut_all()
        outcomes = await asyncio.gather(*runs, return_exceptions=True)
    there = {seat for seat, _ in seats(database)}
    assert {seat for seat, outcome in enumerate(outcomes) if outcome == f"eve {seat} on {seat} in seat {seat}"} == there
    assert len(seats(database)) == len(there)
    refused = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert all(isinstance(one, WorkflowFailedError) for one in refused), "one attempt: lost with its connection"
