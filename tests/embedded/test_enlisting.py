"""Starts and signals in a transaction of the caller's own, on the database that the engine's store is on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import psycopg
import pytest

from perdure import AsyncEngine, Engine, workflow
from perdure.errors import EngineError, WorkflowAlreadyStartedError, WorkflowNotFoundError
from tests.eventually import eventually
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server


@workflow
def ship(order: str) -> str:
    return f"shipped {order}"


@workflow
class Basket:
    def __init__(self) -> None:
        self.items: list[str] = []

    @workflow.signal
    def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.run
    def run(self, size: int) -> list[str]:
        workflow.wait_condition(lambda: len(self.items) >= size)
        return self.items


@pytest.fixture
def database(postgres_server: Server, postgres_database: str) -> str:
    """For psycopg, with a table of the caller's."""
    dsn = conninfo(postgres_server, postgres_database)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE orders (id text PRIMARY KEY)")
    return dsn


@pytest.fixture
def address(postgres_server: Server, postgres_database: str, database: str) -> str:
    return url(postgres_server, postgres_database)


def requests(database: str) -> int:
    with psycopg.connect(database) as connection:
        [number] = connection.execute("SELECT count(*) FROM perdure.records WHERE kind = 'request'").fetchone() or [0]
    return number


def test_a_workflow_starts_when_the_callers_transaction_is_committed(address: str, database: str) -> None:
    with Engine(address) as engine, psycopg.connect(database) as connection:
        with connection.transaction():
            connection.execute("INSERT INTO orders VALUES ('1001')")
            handle = engine.start(ship, "1001", id="ship-1001", connection=connection)
            assert engine.count() == 0
            with pytest.raises(EngineError, match="commit it first"):
                handle.result()
        assert handle.result() == "shipped 1001"
        assert requests(database) == 0


def test_a_rollback_leaves_nothing(address: str, database: str) -> None:
    with Engine(address) as engine, psycopg.connect(database) as connection:
        connection.execute("INSERT INTO orders VALUES ('1001')")
        gone = engine.start(ship, "1001", id="ship-1001", connection=connection)
        connection.rollback()
        with pytest.raises(WorkflowNotFoundError, match="rolled back"):
            gone.result()
        with connection.transaction():
            with connection.transaction() as savepoint:
                half = engine.start(ship, "1001", id="ship-1001", connection=connection)
                raise psycopg.Rollback(savepoint)
            kept = engine.start(ship, "1002", id="ship-1002", connection=connection)
        assert kept.result() == "shipped 1002"
        with pytest.raises(WorkflowNotFoundError):
            half.result()
        assert engine.count() == 1


async def test_it_works_with_connections_of_an_event_loop(address: str, database: str) -> None:
    async with AsyncEngine(address) as engine:
        theirs = await asyncpg.connect(address)
        try:
            async with theirs.transaction():
                await theirs.execute("INSERT INTO orders VALUES ('1001')")
                one = await engine.start(ship, "1001", id="ship-1001", connection=theirs)
            assert await one.result() == "shipped 1001"
        finally:
            await theirs.close()
        async with await psycopg.AsyncConnection.connect(database) as connection:
            await connection.execute("INSERT INTO orders VALUES ('1002')")
            two = await engine.start(ship, "1002", id="ship-1002", connection=connection)
            await connection.commit()
            assert await two.result() == "shipped 1002"
        async with asyncpg.create_pool(address, min_size=1) as pool, pool.acquire() as theirs, theirs.transaction():
            three = await engine.start(ship, "1003", id="ship-1003", connection=theirs)
        assert await three.result() == "shipped 1003"


def test_signals_come_in_their_order_and_behind_the_start(address: str, database: str) -> None:
    with Engine(address) as engine, psycopg.connect(database) as connection:
        basket = engine.start(Basket, 6, id="basket", connection=connection)
        for number in range(3):
            basket.signal(Basket.add, f"item {number}", connection=connection)
        connection.commit()
        for number in range(3, 5):
            basket.signal("add", f"item {number}", connection=connection)
        basket.signal("add", "item 3", request_id="again", connection=connection)
        basket.signal("add", "item 3", request_id="again", connection=connection)
        connection.commit()
        assert basket.result() == [*(f"item {number}" for number in range(5)), "item 3"]
        eventually(lambda: requests(database) == 0, "all requests to be taken away")


def test_a_signal_goes_along_with_a_start(address: str, database: str) -> None:
    with Engine(address) as engine, psycopg.connect(database) as connection:
        options = {"start_signal": Basket.add, "start_signal_args": ["tea"]}
        first = engine.start(Basket, 2, id="basket", connection=connection, **options)
        engine.start(Basket, 2, id="basket", connection=connection, **options)
        connection.commit()
        assert first.result() == ["tea", "tea"]


def test_an_id_that_is_taken_is_judged_now_and_again_at_the_commit(address: str, database: str) -> None:
    with Engine(address) as engine, psycopg.connect(database) as connection:
        engine.run(ship, "1001", id="ship-1001")
        assert engine.start(ship, "1001", id="ship-1001", connection=connection).result() == "shipped 1001", "the same"
        with pytest.raises(WorkflowAlreadyStartedError, match="other arguments"):
            engine.start(ship, "1002", id="ship-1001", connection=connection)
        options = {"id_reuse_policy": "reject_duplicate", "connection": connection}
        late = engine.start(ship, "1003", id="ship-1003", **options)
        engine.run(ship, "1003", id="ship-1003")
        connection.commit()
        with pytest.raises(EngineError, match=r"could not be done: .*already finished"):
            eventually(late.result, "the refusal")


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
def test_of_two_requests_under_one_id_the_second_is_told_whether_it_was_the_same(
    address: str, database: str, is_open: bool
) -> None:
    """Both are judged before either is committed, so what is there by then is for the second one to hear."""
    size = 1 if is_open else 0
    with Engine(address) as engine, psycopg.connect(database) as quick, psycopg.connect(database) as slow:
        first = engine.start(Basket, size, id="basket", connection=quick)
        same = engine.start(Basket, size, id="basket", connection=slow)
        another = engine.start(Basket, size + 1, id="basket", connection=slow)
        another_type = engine.start(ship, "1001", id="basket", connection=slow)
        whatever = engine.start(Basket, 7, id="basket", id_conflict_policy="use_existing", connection=slow)
        quick.commit()
        if is_open:
            eventually(lambda: engine.count() == 1, "the first one to be started")
        else:
            assert first.result() == []
        slow.commit()
        with pytest.raises(WorkflowAlreadyStartedError, match=f"size is {size} there and {size + 1} here"):
            another.result()
        with pytest.raises(WorkflowAlreadyStartedError, match="of type 'Basket', not 'ship'"):
            another_type.result()
        if is_open:
            first.signal(Basket.add, "tea")
            assert whatever.result() == first.result() == ["tea"]
        assert same.result() == first.result()
        assert engine.count() == 1


def test_a_signal_to_nobody_is_kept_with_the_reason(
    address: str, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Engine(address) as engine, psycopg.connect(database) as connection:
        engine.get("nobody").signal("add", "tea", connection=connection)
        connection.commit()
        eventually(lambda: "Signal of workflow 'nobody'" in caplog.text, "the log to name what was refused")
        assert requests(database) == 1


def misused(make: Callable[[], object], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        make()


def test_what_cannot_take_part_is_refused_in_a_sentence(address: str, database: str, postgres_server: Server) -> None:
    with Engine(address) as engine, psycopg.connect(database, autocommit=True) as automatic:

        def begin(connection: object) -> object:
            return engine.start(ship, "1", id="ship-1", connection=connection)

        misused(lambda: begin(automatic), EngineError, "commits every statement by itself")
        misused(lambda: begin(object()), TypeError, "psycopg's .3. or asyncpg's, not builtins.object")
        with psycopg.connect(conninfo(postgres_server)) as elsewhere:
            misused(lambda: begin(elsewhere), EngineError, "without the tables")
        with automatic.transaction():
            misused(lambda: engine.run(ship, "1", connection=automatic), ValueError, "use start")
            with pytest.raises(ValueError, match="an update waits for an answer"):
                engine.start(Basket, 1, start_update="add", id="basket", connection=automatic)
        asyncio.run(_with_awaited(engine, address, database))
        assert engine.count() == 0
    with Engine("memory://") as engine, psycopg.connect(database) as connection:
        misused(lambda: begin(connection), EngineError, "needs an engine in this process on PostgreSQL")


async def _with_awaited(engine: Engine, address: str, database: str) -> None:
    theirs = await asyncpg.connect(address)
    with pytest.raises(EngineError, match="commits every statement"):
        engine.start(ship, "1", connection=theirs)
    async with theirs.transaction():
        with pytest.raises(TypeError, match="belongs to an event loop, and this call blocks"):
            engine.start(ship, "1", connection=theirs)
    await theirs.close()
    async with await psycopg.AsyncConnection.connect(database) as connection:
        with pytest.raises(TypeError, match="belongs to an event loop, and this call blocks"):
            engine.get("ship").signal("add", connection=connection)


def test_a_database_that_looks_the_same_is_another_one(
    address: str, postgres_database: str, postgres_server: Server
) -> None:
    name = f"{postgres_database}_twin"
    with psycopg.connect(conninfo(postgres_server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    with Engine(url(postgres_server, name), worker=False):
        pass
    with (
        Engine(address, worker=False) as engine,
        psycopg.connect(conninfo(postgres_server, name)) as twin,
        pytest.raises(EngineError, match="leads to another database"),
    ):
        engine.start(ship, "1", id="ship-1", connection=twin)
