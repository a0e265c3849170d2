"""What becomes of a commit whose connection breaks is found out, never guessed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perdure.stores.api import OutcomeUnknown, RecordChange, StoreError
from perdure.stores.mysql import MysqlStore, lane, readers
from perdure.stores.mysql.driver import Connection
from tests.servers.chosen import MYSQL
from tests.servers.fixtures import hold, new_mariadb_database, url
from tests.servers.server import Server
from tests.stores.given import APPLIED, CONFLICT, Run, queued, stored
from tests.stores.mysql.broken import Break, Line, after, before


@pytest.fixture
def store(mysql: MysqlStore) -> MysqlStore:
    """Opened for coroutine tests, as `tests/stores/conftest.py` does it."""
    return mysql


@pytest.mark.parametrize("word", [b"BEGIN", b"COMMIT"], ids=["at the locks", "at the commit"])
@pytest.mark.parametrize("how", [before, after])
async def test_a_commit_is_applied_once_wherever_its_connection_breaks(
    store: MysqlStore, word: bytes, how: Break
) -> None:
    run, late = Run("order-1"), Run("order-2")
    await store.commit([run.commit(events=1), late.commit(events=1), late.commit(events=1)])
    line = Line(store, word, how)
    batch = [run.commit(events=2, add=[run.task()]), late.behind(1).commit(), Run("order-3").commit(events=1)]
    assert await store.commit(batch) == [APPLIED, CONFLICT, APPLIED]
    assert line.how is None, "it did break"
    assert await stored(store, run) == (2, [1, 2, 3])
    assert await stored(store, Run("order-3")) == (1, [1])
    assert len(await queued(store)) == 1
    assert await store.commit([run.commit(events=1)]) == [APPLIED]


async def test_what_is_still_on_its_way_is_never_applied_once_it_was_asked_for(store: MysqlStore) -> None:
    run = Run()
    await store.commit([run.commit(events=1)])
    texts: list[tuple[Connection, bytes]] = []
    sent = asyncio.Event()
    door = store._open().commits._door
    query = door.query

    async def lose(connection: Connection, text: bytes) -> Any:
        if b"COMMIT" in text and not texts:
            texts.append((connection, text))
            terminate, connection.terminate = connection.terminate, lambda: None
            texts[0][0].__dict__["really"] = terminate
            sent.set()
            raise ConnectionResetError("on its way")
        return await query(connection, text)

    door.query = lose
    writing = asyncio.ensure_future(store.commit([run.commit(events=1)]))
    # The transaction holds its writer's row until the server misses the connection; then its epoch is raised.
    await sent.wait()
    connection, text = texts[0]
    await connection.query(b"ROLLBACK")
    assert await writing == [APPLIED]
    with pytest.raises(Exception, match="'epoch' cannot be null"):
        await connection.query(text)
    connection.__dict__["really"]()
    assert await stored(store, run) == (2, [1, 2])


async def test_a_record_is_changed_once(store: MysqlStore) -> None:
    Line(store, b"COMMIT", after)
    assert await store.put_records([RecordChange("schedule", "n", "a", 0, b"1")]) == [APPLIED]
    found = await store.record("schedule", "n", "a")
    assert found is not None and found.version == 1


@pytest.mark.parametrize("how", [before, after])
async def test_a_record_that_there_is_is_replaced_once_though_it_takes_one_statement(
    store: MysqlStore, how: Break
) -> None:
    await store.put_records([RecordChange("node", "", "a", 0, b"1")])
    line = Line(store, b"UPDATE records", how)
    assert await store.put_records([RecordChange("node", "", "a", 1, b"2", 7)]) == [APPLIED]
    assert line.how is None, "it did break"
    found = await store.record("node", "", "a")
    assert found is not None and (found.version, found.data, found.wake_at_ns) == (2, b"2", 7)
    assert await store.put_records([RecordChange("node", "", "a", 1, b"3")]) == [CONFLICT]
    assert await store.put_records([RecordChange("node", "", "a", 2, None)]) == [APPLIED]


async def test_reads_are_asked_again(store: MysqlStore) -> None:
    run = Run()
    await store.commit([run.commit(events=1)])
    Line(store, b"SELECT", before)
    assert await stored(store, run) == (1, [1])


async def test_a_writer_that_was_forgotten_says_that_it_does_not_know(store: MysqlStore) -> None:
    run = Run()
    await store.commit([run.commit(events=1)])

    async def lose_and_restore(send: Any) -> Any:
        door = store._open().commits._door
        other = await door.connect()
        await send()
        await other.query(b"DELETE FROM writers")
        await other.close()
        raise ConnectionResetError

    Line(store, b"COMMIT", lose_and_restore)
    with pytest.raises(OutcomeUnknown, match="forgotten this engine"):
        await store.commit([run.commit(events=1)])
    assert await stored(store, run) == (2, [1, 2])
    assert await store.commit([run.commit(events=1)]) == [APPLIED]


def test_a_server_that_is_killed_is_come_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "PATIENCE_S", 0.2)
    monkeypatch.setattr(lane, "UNKNOWN_S", 60.0)
    with hold(Server.private, MYSQL) as server, new_mariadb_database(server) as name:
        asyncio.run(_kill_amid_commits(server, url(server, name)))


async def _kill_amid_commits(server: Server, address: str) -> None:
    store = MysqlStore(address)
    await store.open()
    run = Run()
    await store.commit([run.commit(events=1)])
    server.kill()
    with pytest.raises(StoreError, match="cannot be reached") as refused:
        await store.commit([run.commit(events=1)])
    assert not isinstance(refused.value, OutcomeUnknown), "nothing was on its way"
    run.behind(1)
    server.start()

    async def kill(send: Any) -> Any:
        await send()
        server.kill()
        server.start()
        raise ConnectionResetError

    Line(store, b"SET last_group", kill)
    run.execution.next_event_id = 2
    assert await store.commit([run.commit(events=1)]) == [APPLIED]
    assert await stored(store, run) == (2, [1, 2])
    assert await store.commit([run.commit(events=1)]) == [APPLIED]
    await store.close()


def test_a_server_that_does_not_answer_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "PATIENCE_S", 0.2)
    monkeypatch.setattr(lane, "UNKNOWN_S", 0.2)
    monkeypatch.setattr(readers, "PATIENCE_S", 0.2)
    with hold(Server.private, MYSQL, durable=False) as server, new_mariadb_database(server) as name:
        asyncio.run(_pause_amid_commits(server, f"{url(server, name)}?timeout=0.5&connect_timeout=0.5"))


async def _until_reached(store: MysqlStore) -> None:
    """Until somebody answers, whoever asks is refused at once."""
    for _ in range(1000):
        if not store._open().commits._door.reach.is_cut:
            return
        await asyncio.sleep(0.02)  # the store tries, and tells nobody when it has gone well
    raise AssertionError("it was never reached again")


async def _pause_amid_commits(server: Server, address: str) -> None:
    store = MysqlStore(address)
    await store.open()
    run = Run()
    await store.commit([run.commit(events=1)])
    server.pause()
    try:
        with pytest.raises(StoreError, match=r"in time|reached") as refused:
            await store.commit([run.commit(events=1)])
        assert not isinstance(refused.value, OutcomeUnknown), "it held the locks at most"
        with pytest.raises(StoreError, match=r"in time|reached"):
            await store.load([run.reference])
    finally:
        server.resume()
    await _until_reached(store)

    async def pause(send: Any) -> Any:
        server.pause()
        return await send()

    run.behind(1)
    run.execution.next_event_id = 2
    Line(store, b"SET last_group", pause)
    with pytest.raises(OutcomeUnknown, match="whether it was applied is not known"):
        await store.commit([run.commit(events=1)])
    server.resume()
    await _until_reached(store)
    version, events = await stored(store, run)
    assert (version, events) in ((1, [1]), (2, [1, 2])), "one or the other"
    await store.close()
