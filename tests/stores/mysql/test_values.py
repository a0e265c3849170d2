"""What can be stored, and what is refused alone when it cannot."""

from __future__ import annotations

import asyncio

import pytest

from perdure.stores.api import Namespace, RecordChange, Unstorable
from perdure.stores.mysql import MysqlStore
from perdure.stores.mysql.literals import Statement, hash_of, literal, of_partitions
from perdure.stores.partitions import ALL_PARTITIONS, Partitions
from perdure.stores.visibility import ALL
from tests.servers.chosen import MYSQL
from tests.servers.fixtures import hold, new_mariadb_database, url
from tests.servers.server import Server
from tests.stores.given import APPLIED, Run, stored

NASTY = bytes(range(256)) + b"'\\'\\\\''\"`%s%p--;/*" + "é€😀".encode()


@pytest.fixture
def store(mysql: MysqlStore) -> MysqlStore:
    """Opened for coroutine tests, as `tests/stores/conftest.py` does it."""
    return mysql


async def test_every_byte_comes_back(store: MysqlStore) -> None:
    readers = store._open().readers
    for value in (NASTY, b"", b"\\", b"'", NASTY[::-1]):
        [answer] = await readers.query(Statement("SELECT %s, length(%s)")(value, value))
        assert answer.rows == ((value, len(value)),)


async def test_numbers_come_back(store: MysqlStore) -> None:
    readers = store._open().readers
    for value in (0, -(2**63), 2**63 - 1, None, 0.1, -1e300, 5e-324, 0.30000000000000004, 1e22):
        column = "CAST(%s AS DOUBLE)" if isinstance(value, float) else "%s"
        [answer] = await readers.query(Statement(f"SELECT {column}")(value))
        assert answer.rows == ((value,),)


def test_what_is_no_value_is_refused() -> None:
    for value in ("caf\udce9", object(), [1]):
        with pytest.raises((UnicodeError, TypeError)):
            literal(value)


def test_names_are_told_apart_where_one_ends_and_the_next_begins() -> None:
    assert len({hash_of(*names) for names in (("a", "b"), ("ab",), ("a", "", "b"), ("1:a", "b"), ("a\0b",))}) == 5


def test_a_test_of_partitions_stands_where_it_belongs() -> None:
    some = Partitions([0, 9])
    text = of_partitions("find_next_wake", some, 7)
    assert text.index(b"7") < text.index(b"ascii(substring(_binary'\x01\x02\0")
    assert b"TRUE" in of_partitions("find_next_wake", ALL_PARTITIONS, 7)


async def test_texts_that_differ_in_case_accents_or_spaces_at_the_end_are_different(store: MysqlStore) -> None:
    names = ["a", "A", "a ", "a\0", "ä", "a\u0308", " a"]
    assert await store.commit([Run(name).commit(events=1) for name in names]) == [APPLIED] * len(names)
    assert len(await store.find_executions("default", ALL)) == len(names)
    changes = [RecordChange("schedule", "n", name, 0, b"1") for name in names]
    assert await store.put_records(changes) == [APPLIED] * len(names)
    assert [record.name for record in await store.records("schedule", "n")] == sorted(names, key=str.encode)


async def test_a_name_that_is_too_long_is_refused_alone(store: MysqlStore) -> None:
    long = Run("order-2")
    long.execution.workflow_type = "x" * 10_000
    applied, refused = await store.commit([Run("order-1").commit(), long.commit()])
    assert applied is APPLIED
    assert isinstance(refused, Unstorable) and refused.is_value
    put = [RecordChange("schedule", "n", name, 0, b"1") for name in ("a", "x" * 3_000, "b")]
    one, refused, three = await store.put_records(put)
    assert (one, three) == (APPLIED, APPLIED)
    assert isinstance(refused, Unstorable) and refused.is_value
    with pytest.raises(Unstorable, match="cannot be stored"):
        await store.put_namespace(Namespace("n" * 2_000, "id", 1))


def test_what_no_packet_holds_is_refused_alone_and_groups_are_cut_to_fit() -> None:
    with hold(Server.private, MYSQL, durable=False) as server, new_mariadb_database(server) as name:
        asyncio.run(_fill_packets(url(server, name)))


async def _fill_packets(address: str) -> None:
    store = MysqlStore(address)
    await store.open()
    try:
        packet_max = await store._open().commits.packet_max()
        store._open().commits._connection.packet_max = 100_000  # type: ignore[union-attr]
        runs = [Run(f"order-{number}") for number in range(20)]
        for run in runs:
            run.execution.memo = {"note": b"x" * 20_000}
        assert await store.commit([run.commit(events=1) for run in runs]) == [APPLIED] * 20
        assert await stored(store, runs[19]) == (1, [1])
        store._open().commits._connection.packet_max = packet_max  # type: ignore[union-attr]
        huge = Run("huge")
        huge.execution.memo = {"note": b"x" * (packet_max + 2048)}
        applied, refused = await store.commit([runs[0].commit(events=1), huge.commit(events=1)])
        assert applied is APPLIED
        assert isinstance(refused, Unstorable) and refused.is_value
        assert await store.commit([runs[0].commit(events=1)]) == [APPLIED]
    finally:
        await store.close()
