"""A user's function inside a write transaction of the store.

What the function is given looks like a connection and is none: it can read and write the user's own
tables, and nothing else. Whether the transaction is kept is not the function's to say, for the
engine's rows are in it too; so everything that would end it, and everything that would touch the
engine's tables, is refused while the statement is compiled, by SQLite's authorizer
(https://www.sqlite.org/c3ref/set_authorizer.html), with a sentence that says why.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from perdure.stores.api import StoreError

Parameters = Sequence[Any] | Mapping[str, Any]

SAVEPOINT = "perdure_activity"
"""Stands between the engine's rows of a transaction and those of one function."""
RESERVED_PREFIX = "perdure_"
"""Names of tables that later schemas may add."""

OWN_NAMES = frozenset(
    {
        *("executions", "executions_key", "executions_wake", "executions_in_flight", "executions_visibility"),
        *("current_runs", "search_attributes", "search_attributes_value", "state_parts", "state_parts_key"),
        *("history", "history_key", "tasks", "tasks_key", "tasks_queue", "messages", "messages_key"),
        *("records", "records_key", "records_wake", "namespaces", "perdure_store"),
    }
)
"""Tables and indices of the SQLite store. On a memory store they are taken too: what works there works on a file."""
_READING_PRAGMAS = frozenset(
    {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}
)
_ENDS_IT = "the store decides whether its transaction is kept; raise an exception to have everything rolled back"
_FIRST_ARGUMENT = frozenset(
    {
        sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_DROP_VIEW, sqlite3.SQLITE_CREATE_VTABLE,
        sqlite3.SQLITE_DROP_VTABLE, sqlite3.SQLITE_ANALYZE, sqlite3.SQLITE_REINDEX,
    }
)  # fmt: skip
"""Actions that name what they change in their first argument."""
_SECOND_ARGUMENT = frozenset(
    {
        sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_DROP_INDEX, sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_DROP_TRIGGER, sqlite3.SQLITE_ALTER_TABLE,
    }
)  # fmt: skip
"""Actions that name the table they change in their second argument."""
_TEMPORARY = frozenset(
    {
        sqlite3.SQLITE_CREATE_TEMP_INDEX, sqlite3.SQLITE_CREATE_TEMP_TABLE, sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
        sqlite3.SQLITE_CREATE_TEMP_VIEW,
    }
)  # fmt: skip


def refusal(action: int, first: str | None, second: str | None) -> str | None:
    """Why a statement of a user's function may not do this, None: it may. The arguments are SQLite's authorizer's."""
    if action == sqlite3.SQLITE_TRANSACTION:
        return f"{first} is not allowed in a transactional activity: {_ENDS_IT}."
    if action == sqlite3.SQLITE_SAVEPOINT:
        own = (second or "").lower() == SAVEPOINT
        return f"the savepoint {SAVEPOINT} is the store's own: give yours another name." if own else None
    if action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH):
        return "ATTACH and DETACH are not allowed in a transactional activity: one file, one transaction."
    if action == sqlite3.SQLITE_PRAGMA:
        known = (first or "").lower() in _READING_PRAGMAS
        return None if known else f"PRAGMA {first} is not allowed in a transactional activity: it is the store's file."
    if action in _TEMPORARY:
        return (
            "temporary tables are not allowed in a transactional activity: they would stay on the store's connection."
        )
    return _refusal_of_name(action, first, second)


def _refusal_of_name(action: int, first: str | None, second: str | None) -> str | None:
    if action in _FIRST_ARGUMENT:
        names = [first]
    elif action in _SECOND_ARGUMENT:
        names = [first, second]
    else:
        return None
    for name in names:
        lower = (name or "").lower()
        if lower in OWN_NAMES or lower.startswith(RESERVED_PREFIX):
            return f"{name} is the engine's own: a transactional activity may change tables of other names only."
    return None


class Cursor:
    """What `Transaction.execute` returns: a cursor of the standard library's kind, less its connection."""

    def __init__(self, transaction: Transaction, cursor: sqlite3.Cursor) -> None:
        self._transaction = transaction
        self._cursor = cursor

    def execute(self, sql: str, parameters: Parameters = ()) -> Cursor:
        """Run one statement. Raises sqlite3.Error, StoreError for what is not allowed."""
        self._transaction.do(lambda: self._cursor.execute(sql, parameters))
        return self

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> Cursor:
        """Run one statement for each set of parameters. Raises as `execute`."""
        self._transaction.do(lambda: self._cursor.executemany(sql, parameters))
        return self

    def fetchone(self) -> Any:
        """The next row, None behind the last."""
        return self._transaction.do(self._cursor.fetchone)

    def fetchmany(self, size: int = 1) -> list[Any]:
        """At most so many rows."""
        return self._transaction.do(lambda: self._cursor.fetchmany(size))

    def fetchall(self) -> list[Any]:
        """All that are left."""
        return self._transaction.do(self._cursor.fetchall)

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    @property
    def rowcount(self) -> int:
        """Rows changed by the last statement; -1 when it changed none by nature."""
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        """Of the last INSERT."""
        return self._cursor.lastrowid

    @property
    def description(self) -> Any:
        """A tuple for each column of the result, its name first; None when there is none."""
        return self._cursor.description

    def close(self) -> None:
        """Free the statement."""
        self._cursor.close()


class Transaction:
    """The user's side of the store's write transaction; ends with the function it was made for.

    Attributes:
        paramstyle: how parameters are marked, in the words of the database API: "qmark" (`?`; `:name` works too).
        row_factory: set it to `sqlite3.Row`, or any row factory of that module, before making a cursor.
    """

    paramstyle = "qmark"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursors: list[sqlite3.Cursor] = []
        self._refusal: str | None = None
        self._ended = False
        self.row_factory: Any = None

    def execute(self, sql: str, parameters: Parameters = ()) -> Cursor:
        """Run one statement. Raises sqlite3.Error, StoreError for what is not allowed."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> Cursor:
        """Run one statement for each set of parameters. Raises as `execute`."""
        return self.cursor().executemany(sql, parameters)

    def cursor(self) -> Cursor:
        """A cursor of its own."""
        self._check()
        cursor = self._connection.cursor()
        cursor.row_factory = self.row_factory
        self._cursors.append(cursor)
        return Cursor(self, cursor)

    def commit(self) -> None:
        """Always refused. Raises StoreError."""
        raise StoreError(f"commit() is not allowed in a transactional activity: {_ENDS_IT}.")

    def rollback(self) -> None:
        """Always refused. Raises StoreError."""
        raise StoreError(f"rollback() is not allowed in a transactional activity: {_ENDS_IT}.")

    def do(self, step: Callable[[], Any]) -> Any:
        """One step on the connection, with a refusal told in words."""
        self._check()
        self._refusal = None
        try:
            return step()
        except sqlite3.DatabaseError as error:
            if self._refusal is not None:
                raise StoreError(self._refusal) from error
            raise

    def authorize(self, action: int, first: str | None, second: str | None, database: Any, trigger: Any) -> int:
        """SQLite's authorizer while the function runs."""
        why = refusal(action, first, second)
        if why is None:
            return sqlite3.SQLITE_OK
        self._refusal = why
        return sqlite3.SQLITE_DENY

    def end(self) -> None:
        """Free what the function left open, so that nothing of it stands in the way of the engine's commit."""
        self._ended = True
        for cursor in self._cursors:
            cursor.close()

    def _check(self) -> None:
        if self._ended:
            raise StoreError("The transaction has ended with its activity: do not keep `tx` beyond the function.")


def run_guarded(connection: sqlite3.Connection, work: Callable[[Transaction], bool]) -> bool:
    """Run a user's function in the open transaction; what it says: whether its rows are to be kept.

    `work` must not raise. A cached statement is compiled anew when an authorizer is set, so nothing slips past it.
    """
    transaction = Transaction(connection)
    connection.set_authorizer(transaction.authorize)
    try:
        return work(transaction)
    finally:
        transaction.end()
        connection.set_authorizer(None)
