"""A program's transactions and the engine's, on one PostgreSQL, under kill -9 of the program and of the database.

    python -m benchmarks.application_kills [--orders 5000] [--kills 40] [--seed 1]

A child process takes orders: in one transaction it inserts a row into `orders`, starts the order's workflow and signals
it; every fifth transaction it rolls back. Each workflow has one transactional activity, which inserts one row into
`bookings` and returns its number, and waits for the signal. Child and database are killed at random moments and started
again until all orders are taken and done. Then, and after every kill of the child:

* every order that is committed has one workflow, once it had time; one that was rolled back has none;
* a row of `bookings` is there if and only if the history of its workflow says that the activity was completed, with
  that number, and once.

There is no idempotency key anywhere, and no constraint that would make a second row impossible.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure import AsyncEngine, Transaction, WorkflowStatus, activity, call, workflow
from perdure.errors import EngineError, WorkflowNotFoundError
from perdure.stores.api import Reference
from perdure.stores.postgres import PostgresStore
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server

AT_ONCE = 20
_PATIENCE = 1_200
"""Tries, 50 ms apart."""
_TABLES = (
    "CREATE TABLE orders (id integer, taken_by integer)",
    "CREATE TABLE bookings (number bigint GENERATED ALWAYS AS IDENTITY, workflow_id text)",
)


@activity(transactional=True, name="application_kills.book")
def book(tx: Transaction, order: int) -> int:
    """Nothing here makes a second row impossible but the transaction itself."""
    row = tx.execute("INSERT INTO bookings (workflow_id) VALUES (?) RETURNING number", (f"order-{order}",)).fetchone()
    return int(row[0])


@workflow(name="application_kills.Fulfil")
class Fulfil:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.signal
    def say(self, word: str) -> None:
        self.words.append(word)

    @workflow.run
    def run(self, order: int) -> str:
        number = call(book, order)
        workflow.wait_condition(lambda: len(self.words) > 0)
        return f"{number} {len(self.words)}"


def is_rolled_back(order: int) -> bool:
    return order % 5 == 4


async def work(address: str, dsn: str, orders: int, life: int) -> None:
    """The child: take what is not taken yet, and end when all is done. Prints a line for each step."""
    async with AsyncEngine(address, workflows=[Fulfil], activities=[book]) as engine:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            found = await connection.execute("SELECT id FROM orders")
            taken = {order async for (order,) in found}
        left = iter([order for order in range(orders) if order not in taken])

        async def lane() -> None:
            program = _Program(engine, dsn, life)
            for order in left:
                if await program.take(order):
                    print("taken", flush=True)
                    await finished(engine, order)
                    print("done", flush=True)
            await program.close()

        await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
        for order in sorted(taken):
            await finished(engine, order)


async def finished(engine: AsyncEngine, order: int) -> None:
    """Wait for the workflow of an order that is committed: it is there soon."""
    for _ in range(_PATIENCE):
        try:
            await engine.get(f"order-{order}").result()
            return
        except WorkflowNotFoundError:
            await asyncio.sleep(0.05)
    raise AssertionError(f"order {order} is committed and has no workflow")


class _Program:
    """One thread, so to speak, of a program with a connection of its own, which outlives the database."""

    def __init__(self, engine: AsyncEngine, dsn: str, life: int) -> None:
        self._engine = engine
        self._dsn = dsn
        self._life = life
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def take(self, order: int) -> bool:
        """Whether the order is committed. What a lost connection has left is looked up."""
        is_doubtful = False
        for _ in range(_PATIENCE):
            try:
                connection = self._connection
                if connection is None:
                    connection = self._connection = await psycopg.AsyncConnection.connect(self._dsn)
                if is_doubtful and await self._is_there(connection, order):
                    return True
                is_doubtful = True
                return await self._try(connection, order)
            except (psycopg.OperationalError, EngineError):
                await self.close()
                await asyncio.sleep(0.05)
        raise AssertionError("the database does not come back")

    async def _is_there(self, connection: psycopg.AsyncConnection[Any], order: int) -> bool:
        found = await (await connection.execute("SELECT 1 FROM orders WHERE id = %s", (order,))).fetchone()
        await connection.rollback()
        return found is not None

    async def _try(self, connection: psycopg.AsyncConnection[Any], order: int) -> bool:
        await connection.execute("INSERT INTO orders VALUES (%s, %s)", (order, self._life))
        handle = await self._engine.start(Fulfil, order, id=f"order-{order}", connection=connection)
        await handle.signal(Fulfil.say, "go", connection=connection)
        if is_rolled_back(order):
            await connection.rollback()
            return False
        await connection.commit()
        return True

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


@dataclass(slots=True)
class Audit:
    """What the database says."""

    orders: int
    workflows: int
    booked: int
    problems: list[str]


async def audit(address: str, dsn: str, *, at_end: bool) -> Audit:
    """Compare the program's tables with the histories, workflow by workflow, while no child lives.

    Args:
        at_end: nothing is left to be done.
    """
    problems: list[str] = []
    store = PostgresStore(address)
    async with AsyncEngine(address, worker=False) as engine, await psycopg.AsyncConnection.connect(dsn) as connection:
        await store.open()
        taken = Counter([order async for (order,) in await connection.execute("SELECT id FROM orders")])
        requests = [row async for row in await connection.execute(
            "SELECT name FROM perdure.records WHERE kind = 'request'"
        )]  # fmt: skip
        rows = [row async for row in await connection.execute("SELECT workflow_id, number FROM bookings")]
        numbers = dict(rows)
        problems += [f"{len(rows) - len(numbers)} bookings are there twice"] if len(rows) != len(numbers) else []
        problems += [f"order {order} is there {count} times" for order, count in taken.items() if count > 1]
        found = await engine.list(limit=1_000_000)
        by_id = Counter(one.id for one in found)
        problems += [f"{name} was started {count} times" for name, count in by_id.items() if count > 1]
        problems += [f"{name}: its order was rolled back" for name in by_id if int(name[6:]) not in taken]
        for one in found:
            events = [*await engine.get(one.id, one.run_id).history(), *await held_back(store, one.id)]
            recorded = [
                int(event.activity_task_completed_event_attributes.result.payloads[0].data)
                for event in events
                if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
            ]
            booked = [numbers.pop(one.id)] if one.id in numbers else []
            if recorded != booked:
                problems.append(f"{one.id}: the table says {booked}, the history {recorded}")
            signals = sum(event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED for event in events)
            if signals > 1 or (at_end and signals != 1):
                problems.append(f"{one.id} was signalled {signals} times")
        problems += [f"{name}: a booking without a workflow" for name in numbers]
        await store.close()
        if at_end:
            problems += [f"order {order} has no workflow" for order in taken if f"order-{order}" not in by_id]
            problems += [f"{one.id} is {one.status}" for one in found if one.status is not WorkflowStatus.COMPLETED]
            problems += [f"{name!r} was not done" for (name,) in requests]
    return Audit(len(taken), len(found), len(rows), problems)


async def held_back(store: PostgresStore, workflow_id: str) -> list[HistoryEvent]:
    """What is durable of a workflow and no part of its history yet, behind a workflow task that some worker had."""
    [execution] = await store.load([Reference("default", workflow_id)])
    return [] if execution is None else [HistoryEvent.FromString(data) for data in execution.facts.buffered]


def run_under_kills(server: Server, database: str, orders: int, kills: int, seed: int) -> tuple[Counter[str], Audit]:
    """How often each was killed, and the last audit. Raises AssertionError at the first disagreement."""
    chance = random.Random(seed)
    address, dsn = url(server, database), conninfo(server, database)
    with psycopg.connect(dsn) as connection:
        for table in _TABLES:
            connection.execute(table.encode())
    dealt: Counter[str] = Counter()
    lives = 0
    while True:
        lives += 1
        command = [sys.executable, "-m", "benchmarks.application_kills", "--child", address, "--dsn", dsn]
        command += ["--orders", str(orders), "--life", str(lives)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        watchdog = threading.Timer(300.0, child.kill)
        watchdog.start()
        with child, _ended(child):
            said = chance.randrange(1, max(2, 2 * orders // max(1, kills))) if dealt.total() < kills else -1
            for number, _ in enumerate(child.stdout):
                if number != said:
                    continue
                time.sleep(chance.uniform(0, 0.01))
                if chance.random() < 0.5:
                    child.send_signal(signal.SIGKILL)
                    dealt["program"] += 1
                else:
                    server.kill()
                    dealt["database"] += 1
                    start_again(server)
                    said = number + chance.randrange(1, 50)  # and this life ends soon after
                    if dealt.total() >= kills:
                        said = -1
        watchdog.cancel()
        wait_for_its_last_transactions(dsn)
        is_killed = child.returncode == -signal.SIGKILL
        seen = asyncio.run(audit(address, dsn, at_end=child.returncode == 0))
        assert not seen.problems, "\n".join([f"after {dict(dealt)} kills (seed {seed}):", *seen.problems[:20]])
        print(f"{dict(dealt)} killed: {seen}", file=sys.stderr, flush=True)
        if child.returncode == 0:
            return dealt, seen
        if not is_killed:
            dealt["program"] += 1  # it ended with the database, as a program may
        assert lives < 10 * kills + 10, "it does not come to an end"


@contextmanager
def _ended(child: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever goes wrong here, the child does not go on."""
    try:
        yield
    except BaseException:
        child.kill()
        raise


def start_again(server: Server) -> None:
    """After a kill. On a busy machine the last of the old one's processes may take a moment to notice."""
    for tries in range(20):
        try:
            server.start()
            return
        except RuntimeError as error:
            if "is still in use" not in str(error) or tries == 19:
                raise
            time.sleep(0.25)


def wait_for_its_last_transactions(dsn: str) -> None:
    """The server goes on with what a program that is dead by now has asked of it."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    for _ in range(_PATIENCE):
        with psycopg.connect(dsn) as connection:
            [others] = connection.execute(f"{sql} AND backend_type = 'client backend'".encode()).fetchone() or [0]
        if not others:
            return
        time.sleep(0.05)
    raise AssertionError("somebody has a connection still")


def main() -> None:
    parser = argparse.ArgumentParser(description="Transactions of a program and of the engine under kill -9.")
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--dsn", help=argparse.SUPPRESS)
    parser.add_argument("--life", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        asyncio.run(work(options.child, options.dsn, options.orders, options.life))
        return
    with Server.private("postgres") as server:
        with psycopg.connect(conninfo(server), autocommit=True) as connection:
            connection.execute("CREATE DATABASE application")
        begin = time.perf_counter()
        dealt, seen = run_under_kills(server, "application", options.orders, options.kills, options.seed)
        taken_s = time.perf_counter() - begin
    expected = sum(not is_rolled_back(order) for order in range(options.orders))
    assert (seen.orders, seen.workflows, seen.booked) == (expected, expected, expected), seen
    kills = f"{dealt['program']} SIGKILLs of the program and {dealt['database']} of PostgreSQL"
    print(f"{expected} orders of {options.orders} transactions under {kills} in {taken_s:.0f} s: all agree")


if __name__ == "__main__":
    main()
