"""Whatever happens to a transaction, at whichever statement: of a group nothing is applied, or all of it, and once."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest

from perdure.stores.api import BEGINNING
from perdure.stores.mysql import MysqlStore
from perdure.stores.mysql.bounds import GROUP
from perdure.stores.mysql.door import Door
from perdure.stores.mysql.driver import Answer, Connection
from tests.stores.given import APPLIED, CONFLICT, SECOND, Run, current_run_id, message_id, queued, stored

_STATEMENT = re.compile(rb"(?:[^';]|'(?:[^'\\]|\\.|'')*')+", re.DOTALL)
_DEADLOCK = b"SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'for the sake of another'"
How = Callable[[list[bytes], int], list[bytes]]
"""Given the statements of a text and the place of one: what is sent in their stead."""


def undone(statements: list[bytes], place: int) -> list[bytes]:
    """The server undoes the transaction before that statement, and says so."""
    return [*statements[:place], b"ROLLBACK", _DEADLOCK]


def told_otherwise(statements: list[bytes], place: int) -> list[bytes]:
    """The statement is done, and the server says that it was not."""
    return [*statements[: place + 1], _DEADLOCK]


def lost(statements: list[bytes], place: int) -> list[bytes]:
    """The connection is lost before that statement."""
    return [*statements[:place], b"KILL CONNECTION_ID()"]


def lost_behind(statements: list[bytes], place: int) -> list[bytes]:
    """The connection is lost after that statement."""
    return lost(statements, place + 1)


def vanished(statements: list[bytes], place: int) -> list[bytes]:
    """The transaction is undone before that statement, and nobody says so: the rest goes on without it.

    Between two texts a server has an answer to say it with, and does.
    """
    return [*statements[:place], b"ROLLBACK", *statements[place:]] if place else statements


class Amid:
    """Something happens once, at the statement of that number in the next group.

    Attributes:
        statement: where it happened; empty: there are not so many.
    """

    def __init__(self, store: MysqlStore, how: How, number: int) -> None:
        self._lane = store._open().commits
        self._door = self._lane._door
        self._how = how
        self._left = number
        self.statement = b""
        self._query = self._door.query
        self._door.query = self.query

    async def query(self, connection: Connection, text: bytes) -> list[Answer]:
        statements = _STATEMENT.findall(text)
        if self.statement or connection is not self._lane._connection:
            return await self._query(connection, text)
        if self._left >= len(statements):
            self._left -= len(statements)
            return await self._query(connection, text)
        place, self.statement = self._left, statements[self._left]
        sent = self._how(statements, place)
        answers = await self._query(connection, b";".join(sent))
        if len(sent) > len(statements):
            del answers[place]
        return answers

    def end(self) -> None:
        """Nothing happens any more."""
        self._door.query = self._query


@pytest.fixture
def store(mysql: MysqlStore) -> MysqlStore:
    """Opened for coroutine tests, as `tests/stores/conftest.py` does it."""
    return mysql


@pytest.fixture
def member(mysql: MysqlStore, monkeypatch: pytest.MonkeyPatch) -> MysqlStore:
    """A store that takes its server for a member of a Galera group; it is to be opened."""
    prepare = Door._prepare

    async def prepared(door: Door, connection: Connection, writes: bool) -> None:
        await prepare(door, connection, writes)
        connection.bounds = GROUP
        if writes:
            await connection.query(b"SET SESSION autocommit = 0")

    monkeypatch.setattr(Door, "_prepare", prepared)
    return mysql


@pytest.mark.parametrize("how", [undone, told_otherwise, lost, lost_behind])
async def test_one_server_applies_a_group_whole_and_once(store: MysqlStore, how: How) -> None:
    seen = await break_at_every_statement(store, how)
    assert seen[0] == b"BEGIN" and seen[-1] == b"COMMIT"
    assert len({text.split(b"(")[0] for text in seen if text.startswith(b"INSERT")}) == 8, "of most kinds of rows"


@pytest.mark.parametrize("how", [undone, told_otherwise, lost, lost_behind, vanished])
async def test_a_member_of_a_group_applies_it_whole_and_once(member: MysqlStore, how: How) -> None:
    await member.open()
    try:
        seen = await break_at_every_statement(member, how)
    finally:
        await member.close()
    assert seen[:2] == [b"BEGIN", b"SAVEPOINT whole"]
    assert seen[-2:] == [b"RELEASE SAVEPOINT whole", b"COMMIT"]


async def break_at_every_statement(store: MysqlStore, how: How) -> list[bytes]:
    """The statements of a group that does a little of everything, each of which something has happened to."""
    seen: list[bytes] = []
    for number in itertools.count():
        assert number < 60, "a group has an end"
        old, new, late = Run(f"old-{number}"), Run(f"new-{number}"), Run(f"late-{number}")
        first = old.commit(events=1, wake_at_ns=SECOND, add=[old.task()], send=[f"first-{number}"])
        await store.commit([first, late.commit(events=1)])
        await store.commit([late.commit(events=1)])
        amid = Amid(store, how, number)
        written = await store.commit(
            [
                old.commit(
                    events=2, held=True, add=[old.task(3)], remove=[old.task_ref()], send=[f"second-{number}"],
                    settle=[f"first-{number}"],
                ),
                new.commit(events=2, wake_at_ns=SECOND, add=[new.task()]),
                late.behind(1).commit(),
            ]
        )  # fmt: skip
        amid.end()
        assert written == [APPLIED, APPLIED, CONFLICT], amid.statement
        assert await stored(store, old) == (2, [1, 2, 3]), amid.statement
        assert await stored(store, new) == (1, [1, 2]), amid.statement
        assert await stored(store, late) == (2, [1, 2]), amid.statement
        assert await current_run_id(store, new) == new.key.run_id
        ours = (old.key, new.key)
        assert [task for task in await queued(store) if task.key in ours] == [old.task(3), new.task()], amid.statement
        sent = [message_id(row) for row in await store.pending_messages(BEGINNING, 1000)]
        assert sent == [f"second-{done}" for done in range(number + 1)], amid.statement
        assert await store.commit([old.commit(events=1, close_as=2), new.commit(events=1)]) == [APPLIED, APPLIED]
        if not amid.statement:
            return seen
        seen.append(amid.statement)
    raise AssertionError
