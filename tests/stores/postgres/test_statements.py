"""What the statements look like: each of the hot ones names the partition, and finds its rows by a key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import psycopg

from perdure.core.names import QueueName, RecordRef, TaskKind
from perdure.stores.encoding import encode_chain
from perdure.stores.postgres import PostgresStore, queries
from perdure.stores.postgres.door import Door
from perdure.stores.postgres.queries import query
from perdure.stores.postgres.schema import read_schema
from perdure.stores.postgres.statement import _GATES, _PARTS, parameters, parts_of, statement
from perdure.stores.postgres.texts import in_schema
from perdure.stores.postgres.url import read_url
from perdure.stores.sql.plan import Memory, Plan, Planner
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server
from tests.stores.given import APPLIED, COMPLETED, Run

EVERYWHERE = {
    "add_namespace", "find_namespace", "list_namespaces", "remove_namespace", "replace_namespace",
    "raise_epoch", "remove_writers",
    "count_tasks", "list_queues",
    "remove_messages",
    "notify", "find_strangers", "identify", "transaction_status", "list_table_sizes",
}  # fmt: skip
"""Statements that are no execution's: of namespaces, of writers; of queues, whose tasks are in every partition."""


NAMES = [entry.name.removesuffix(".sql") for entry in files(queries).iterdir() if entry.name.endswith(".sql")]


def test_every_statement_of_an_execution_names_its_partition() -> None:
    assert {name for name in NAMES if "partition_id" not in query(name)} == EVERYWHERE
    parts = {**_GATES, **_PARTS}
    without = {name for name, part in parts.items() if "partition_id" not in part.sql}
    assert without == {"removed_messages"}, "a message is settled by its id, which is unique"


def whole_plan() -> Plan:
    """A plan with rows of every kind, and its expectation that nothing of it is there."""
    memory = Memory()
    numbers = iter(range(1, 100))
    planner = Planner(memory, lambda: next(numbers))
    run = Run()
    first = planner.plan([encode_chain(run.commit(wake_at_ns=5, held=True))])
    memory.learn_applied(first, 0)
    queue = QueueName("default", "queue", TaskKind.ACTIVITY)
    following = Run(run_id="run-2")
    commit = run.commit(
        close_as=COMPLETED,
        add=[run.task(7, queue)],
        remove=[run.task_ref(5)],
        send=["a"],
        settle=["b"],
        then=following.commit(after="run-1", wake_at_ns=7, held=True),
    )
    commit.parts = {5: b"x", 6: b""}
    commit.index_changed = True
    commit.take_records = [RecordRef("request", "default", "order-1", 1)]
    run.execution.memo = {"note": b"x"}
    return planner.plan([encode_chain(commit), encode_chain(Run("order-2").commit())])


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


async def test_the_committing_statement_finds_all_rows_by_keys_that_begin_with_the_partition(
    postgres: PostgresStore, postgres_server: Server, postgres_database: str
) -> None:
    """Also where the tables are empty, and a planner would rather read them whole: plans are kept."""
    await postgres.open()
    await postgres.close()
    plan = whole_plan()
    parts = parts_of(plan)
    assert set(parts) == {*_GATES, *_PARTS}
    settings = read_url(url(postgres_server, postgres_database))
    connection: Any = await Door(settings).connect("commits", writes=True)
    try:
        sql = in_schema(statement(parts, True), settings.schema)
        prepared = await connection.prepare(sql)
        [explained] = await prepared.explain(1, 1, 1, *parameters(plan, parts, True))
    finally:
        await connection.close()
    scans = [node for node in nodes(explained["Plan"]) if node.get("Schema") == "perdure" or "Relation Name" in node]
    reads = [node for node in scans if node["Node Type"].endswith("Scan")]
    assert len(reads) >= 10
    for node in reads:
        if node["Node Type"] == "Bitmap Heap Scan":
            continue  # of what the index below it has found
        assert "Index" in node["Node Type"], json.dumps(node)
        keyed = node.get("Index Cond", "")
        assert "partition_id" in keyed or node["Alias"] in ("w", "x", "writers"), json.dumps(node)


async def test_states_are_updated_in_place(
    postgres: PostgresStore, postgres_server: Server, postgres_database: str
) -> None:
    """No index of theirs is touched (HOT), but where a page is full."""
    await postgres.open()
    runs = [Run(f"order-{number}") for number in range(50)]
    await postgres.commit([run.commit() for run in runs])
    for _ in range(20):
        assert await postgres.commit([run.commit(events=1) for run in runs]) == [APPLIED] * 50
    await postgres.close()
    with psycopg.connect(conninfo(postgres_server, postgres_database), autocommit=True) as connection:
        for _ in range(600):
            row = connection.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'states'"
            ).fetchone()
            assert row is not None
            if row[0] == 1000:
                break
            connection.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.05)")  # counters are told once in a while
        assert row[0] == 1000
        assert row[1] > 800, row


def test_tables_are_named_with_their_schema() -> None:
    tables = set(re.findall(r"^CREATE TABLE (\w+)", read_schema(), re.MULTILINE))
    sql = in_schema(statement((*_GATES, *_PARTS), True), "s")
    names = [sql, *(in_schema(query(name), "s") for name in NAMES)]
    for text in names:
        found = set(re.findall(r"(?:\b(?:FROM|JOIN|INTO|UPDATE|USING)|,) (\w+) (?:AS|\(|SET)", text))
        assert not found & tables
    assert '"s".states' in sql
