"""A user's function inside a transaction of the store's, on a connection of its own.

What the function is given looks like a connection and is none: whether the transaction is kept is not the function's to
say, for the engine's rows are in it too. It runs in a thread; its statements go to the event loop that has the
connection, and come back with their rows.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from perdure.stores.api import StoreError
from perdure.stores.postgres.driver import Connection

Parameters = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]

_ENDS_IT = "the store decides whether its transaction is kept; raise an exception to have everything rolled back"
_STAYS = "it would stay on the connection, which others use after this function: SET LOCAL ends with the transaction"
_REFUSED = {
    **dict.fromkeys(("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"), _ENDS_IT),
    **dict.fromkeys(("SET", "RESET", "DISCARD", "LISTEN", "UNLISTEN", "PREPARE", "DEALLOCATE", "LOAD"), _STAYS),
}
_FIRST = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|;)*([A-Za-z]*)(?:\s+([A-Za-z]*)(?:\s+([A-Za-z]*))?)?", re.DOTALL)
"""The first words of a statement, behind spaces and comments."""
_PIECES = re.compile(
    r"""'(?:[^']|'')*' | "[^"]*" | (\$\w*\$).*?\1 | --[^\n]* | /\*.*?\*/ | (%\((\w+)\)s | %s | %% | \?)""",
    re.DOTALL | re.VERBOSE,
)
"""Texts, names and comments, in which nothing is a mark; and marks."""


def refusal(sql: str, schema: str) -> str | None:
    """Why a statement is not allowed."""
    found = _FIRST.match(sql)
    assert found is not None, "it matches nothing at least"
    first, second, third = ((word or "").upper() for word in found.groups())
    why = _REFUSED.get(first)
    if why is not None and not _is_harmless(first, second, third):
        return f"{first} is not allowed in a transactional activity: {why}."
    if re.search(rf'(?<![\w"]){schema}\s*\.|"{schema}"\s*\.', sql):
        return f"the schema {schema} is the engine's own: a transactional activity must not touch it."
    return None


def _is_harmless(first: str, second: str, third: str) -> bool:
    if first == "ROLLBACK":  # to a savepoint of the function's
        return "TO" in (second, third)
    return first == "SET" and second in ("LOCAL", "CONSTRAINTS")


def numbered(sql: str, parameters: Parameters) -> tuple[str, list[Any]]:
    """A statement with its marks as the database has them, $1 and so on, and what stands for them, in order.

    Marks are `%s` or `%(name)s`, and `%%` is a percent sign, as psycopg has it; in a statement that has none of these
    they are `?`. Raises StoreError when there are more or fewer of them than parameters.
    """
    if not parameters:
        return sql, []
    is_psycopgs = any(found[2] not in (None, "?") for found in _PIECES.finditer(sql))
    values: list[Any] = []
    places: dict[str, int] = {}

    def replace(found: re.Match[str]) -> str:
        mark, name = found[2], found[3]
        if mark is None or (mark == "?") is is_psycopgs:
            return found[0]
        if mark == "%%":
            return "%"
        if name is None:
            if isinstance(parameters, Mapping) or len(values) >= len(parameters):
                raise StoreError(f"There are more marks for parameters than parameters in: {sql}")
            values.append(parameters[len(values)])
            return f"${len(values)}"
        if not isinstance(parameters, Mapping) or name not in parameters:
            raise StoreError(f"There is no parameter of the name {name!r} for: {sql}")
        if name not in places:
            values.append(parameters[name])
            places[name] = len(values)
        return f"${places[name]}"

    text = _PIECES.sub(replace, sql)
    if not isinstance(parameters, Mapping) and len(values) != len(parameters):
        raise StoreError(f"{len(parameters)} parameters were given, and {len(values)} marked, in: {sql}")
    return text, values


class Cursor:
    """A statement that was run: its rows, as with other cursors of Python's database API."""

    def __init__(self, transaction: Transaction, row_factory: Any) -> None:
        self._transaction = transaction
        self._rows: Iterator[Any] = iter(())
        self.row_factory = row_factory
        self.rowcount = -1
        self.description: list[tuple[Any, ...]] | None = None

    lastrowid: int | None = None
    """Always None: ask with RETURNING."""

    def execute(self, sql: str, parameters: Parameters = ()) -> Cursor:
        """Run another statement. Raises as `Transaction.execute`."""
        return self.executemany(sql, [parameters])

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> Cursor:
        """Run one statement for each set of parameters."""
        rows, self.rowcount, names = self._transaction.run(sql, list(parameters))
        self.description = [(name, None, None, None, None, None, None) for name in names] or None
        made = (row if self.row_factory is None else self.row_factory(self, row) for row in rows)
        self._rows = iter(list(made))
        return self

    def fetchone(self) -> Any:
        """The next row, None behind the last."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        """So many rows, or what is left."""
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def close(self) -> None:
        """Let the rows go."""
        self._rows = iter(())


class Transaction:
    """What a function is given; implements `perdure.Transaction`. Made on the loop that has the connection.

    Attributes:
        row_factory: for the cursors made from now on: called with the cursor and the row, a tuple.
    """

    paramstyle = "format"

    def __init__(self, connection: Connection, schema: str, timeout_s: float) -> None:
        self._connection = connection
        self._schema = schema
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._ended = False
        self.row_factory: Any = None

    def execute(self, sql: str, parameters: Parameters = ()) -> Cursor:
        """Run one statement. Raises asyncpg.PostgresError, StoreError for what is not allowed."""
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> Cursor:
        """Run one statement for each set of parameters. Raises as `execute`."""
        return self.cursor().executemany(sql, parameters)

    def cursor(self) -> Cursor:
        """A cursor of its own."""
        return Cursor(self, self.row_factory)

    def commit(self) -> None:
        """Always refused. Raises StoreError."""
        raise StoreError(f"commit() is not allowed in a transactional activity: {_ENDS_IT}.")

    def rollback(self) -> None:
        """Always refused. Raises StoreError."""
        raise StoreError(f"rollback() is not allowed in a transactional activity: {_ENDS_IT}.")

    def run(self, sql: str, parameters: Sequence[Parameters]) -> tuple[list[Row], int, list[str]]:
        """The rows of one statement with each of these; how many it changed or found; the names of its columns."""
        if self._ended:
            raise StoreError("The transaction has ended with its activity: do not keep `tx` beyond the function.")
        assert threading.get_ident() != self._loop_thread, "the loop would wait for itself"
        why = refusal(sql, self._schema)
        if why is not None:
            raise StoreError(why)
        asked = [numbered(sql, one) for one in parameters]
        return asyncio.run_coroutine_threadsafe(self._run(asked), self._loop).result()

    async def _run(self, asked: Sequence[tuple[str, list[Any]]]) -> tuple[list[Row], int, list[str]]:
        rows: list[Row] = []
        count, names, text, statement = 0, list[str](), "", None
        for sql, values in asked:
            if statement is None or sql != text:
                text, statement = sql, await self._connection.prepare(sql, name="", timeout=self._timeout_s)
            rows += [tuple(row) for row in await statement.fetch(*values, timeout=self._timeout_s)]
            last = (statement.get_statusmsg() or "").split(" ")[-1]
            count += int(last) if last.isdigit() else 0
            names = [attribute.name for attribute in statement.get_attributes()]
        return rows, count, names

    def end(self) -> None:
        """Nothing more is run."""
        self._ended = True
