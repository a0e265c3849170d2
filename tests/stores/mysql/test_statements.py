"""What is asked of the database: in how many texts, of which partition, along which index."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from perdure.stores.api import BEGINNING, RecordChange, StoreError
from perdure.stores.mysql import MysqlStore
from perdure.stores.mysql.driver import Answer, Connection
from perdure.stores.mysql.literals import Statement
from perdure.stores.sql import filters
from perdure.stores.sql.dialects import MYSQL
from perdure.stores.visibility import bind, parse
from tests.stores.given import APPLIED, COMPLETED, CONFLICT, Run, stored
from tests.stores.processes import kill, process, read_line


@pytest.fixture
def store(mysql: MysqlStore) -> MysqlStore:
    """Opened for coroutine tests, as `tests/stores/conftest.py` does it."""
    return mysql


@contextmanager
def listening(store: MysqlStore) -> Generator[list[bytes]]:
    """The texts that go to the database."""
    door = store._open().commits._door
    query, texts = door.query, []

    async def note(connection: Connection, text: bytes) -> list[Answer]:
        texts.append(text)
        return await query(connection, text)

    door.query = note
    yield texts
    door.query = query


async def test_a_group_of_commits_is_two_texts_however_many_there_are(store: MysqlStore) -> None:
    runs = [Run(f"order-{number}") for number in range(50)]
    await store.commit([run.commit(events=2, add=[run.task()]) for run in runs])
    with listening(store) as texts:
        closing = [run.commit(events=2, close_as=COMPLETED, remove=[run.task_ref()]) for run in runs]
        assert await store.commit(closing) == [APPLIED] * 50
    assert len(texts) == 2
    assert [text.split(b" ")[0].split(b";")[0] for text in texts] == [b"BEGIN", b"UPDATE"]
    assert texts[1].endswith(b";COMMIT")


async def test_a_heartbeat_is_one_statement(store: MysqlStore) -> None:
    """Every node writes one, every second, in a fleet that has nothing else to do."""
    await store.put_records([RecordChange("node", "", "a", 0, b"1")])
    with listening(store) as texts:
        assert await store.put_records([RecordChange("node", "", "a", 1, b"2")]) == [APPLIED]
        assert await store.pending_messages(BEGINNING, 10) == []
    assert [text.partition(b" ")[0] for text in texts] == [b"UPDATE", b"SELECT"]
    assert not any(b";" in text for text in texts)
    with listening(store) as texts:
        assert await store.put_records([RecordChange("node", "", "a", 1, b"3")]) == [CONFLICT]
    assert len(texts) == 3


async def test_what_is_hot_names_the_partition_of_every_row(store: MysqlStore) -> None:
    """So that a database which shares its tables out among machines knows whose each statement is."""
    run = Run()
    with listening(store) as texts:
        await store.commit([run.commit(events=2, add=[run.task()], wake_at_ns=5, held=True, send=["m"])])
        await store.commit([run.commit(events=2, remove=[run.task_ref()], wake_at_ns=6)])
        await store.load([run.reference, run.current])
        await stored(store, run)
        await store.commit([run.commit(events=2, close_as=COMPLETED)])
    statements = [one.strip() for text in texts for one in re.split(rb";(?=[A-Z])", text)]
    shared = (b"writers", b"counters", b"perdure_store")
    of_rows = [
        one
        for one in statements
        if re.match(rb"(SELECT|INSERT|UPDATE|DELETE)", one) and not any(name in one for name in shared)
    ]
    assert len(of_rows) > 12
    for one in of_rows:
        if not one.startswith(b"SELECT LAST_INSERT_ID"):
            assert re.search(rb"\(partition_id, |partition_id = |partition_id, ", one), one


MARIADB_EXPLAINS = ("id", "select_type", "table", "type", "possible_keys", "key", "key_len", "ref", "rows", "extra")
MYSQL_EXPLAINS = (*MARIADB_EXPLAINS[:3], "partitions", *MARIADB_EXPLAINS[3:9], "filtered", "extra")


async def explain(store: MysqlStore, text: str) -> list[dict[str, Any]]:
    """How the database would find a page."""
    steps: list[dict[str, Any]] = []
    is_mariadb = store._open().readers.door.is_mariadb
    how = b"EXPLAIN " if is_mariadb else b"EXPLAIN FORMAT=TRADITIONAL "
    names = MARIADB_EXPLAINS if is_mariadb else MYSQL_EXPLAINS
    custom = {"K": 2, "I": 3, "D": 4}
    for one in filters.find(MYSQL, "default", bind(parse(text), custom), None, 10):
        [answer] = await store._open().readers.query(how + Statement(one.sql)(*one.parameters))
        for row in answer.rows:
            step: dict[str, Any] = dict(zip(names, row, strict=True))
            steps.append(step)
    return steps


@pytest.mark.parametrize(
    "text", ["", "ExecutionStatus = 'Running'", "WorkflowType = 'a'", "ExecutionStatus = 'Failed'"]
)
async def test_a_page_ends_the_walk_along_the_index(store: MysqlStore, text: str) -> None:
    walks = [step for step in await explain(store, text) if step["table"] == "e"]
    assert walks
    for walk in walks:
        assert walk["key"] == "executions_visibility"
        assert "filesort" not in str(walk["extra"])


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("WorkflowId = 'x'", "executions_key"),
        ("K = 'x'", "search_attributes_text"),
        ("K STARTS_WITH 'x' AND I = 1", "search_attributes_int"),
        ("I IN (1, 2)", "search_attributes_int"),
        ("D = 0.5", "search_attributes_double"),
        ("RootWorkflowId = 'x'", "search_attributes_text"),
    ],
)
async def test_what_is_demanded_gives_the_rows(store: MysqlStore, text: str, index: str) -> None:
    runs = [Run(f"order-{number}") for number in range(50)]
    await store.commit([run.commit(events=1) for run in runs])
    steps = await explain(store, text)
    assert index in {step["key"] for step in steps} | {
        key for step in steps for key in str(step["possible_keys"]).split(",")
    }, steps
    assert not any(step["key"] == "executions_visibility" for step in steps)


@pytest.mark.parametrize("commits", [1, 7])
def test_what_commit_returned_for_survives_a_kill_of_its_process(mysql_url: str, commits: int) -> None:
    acknowledged = 0
    with process("commit", mysql_url) as running:
        for _ in range(commits):
            acknowledged = int(read_line(running))
        kill(running)
    asyncio.run(_look(mysql_url, acknowledged))


async def _look(address: str, acknowledged: int) -> None:
    store = MysqlStore(address)
    await store.open()
    run = Run()
    version, events = await stored(store, run)
    assert version >= acknowledged
    assert events == list(range(1, 2 * version + 1))
    await store.close()


def test_without_its_driver_a_store_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asyncmy", None)
    with pytest.raises(StoreError, match=r"pip install 'perdure\[mysql\]'"):
        asyncio.run(MysqlStore("mysql://root@127.0.0.1:1/orders").open())
