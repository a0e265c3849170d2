"""In what SQL databases differ, as far as a list filter shows it.

All of them have the tables `executions` and `search_attributes` with the columns that SQLite's `schema.sql` names, and
the indexes `executions_key` and `executions_visibility`. A dialect says how a row is named, where values are kept, and
how each thing is spelled. Text is compared by its bytes everywhere: the columns see to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from perdure.core.search_attributes import IndexedType, Value

_NUMBERED = re.compile(r"\?(\d+)")


@dataclass(slots=True)
class Statement:
    """SQL and its parameters."""

    sql: str
    parameters: list[Value | bytes | None]


class Dialect:
    """Standard SQL with `?1`, `?2`, ... for the parameters, which a dialect writes in its own way at the end."""

    key: Sequence[str] = ("partition_id", "id")
    """Columns of `executions` that name a row, the number last; by them equals are put in order, the highest first."""
    owner: Sequence[str] = ("partition_id", "execution_id")
    """The same ones in `search_attributes`."""
    is_partitioned = True
    """Whether the first of `key` is the partition of the workflow id (`stores.partitions`)."""
    unindexed = ""
    """Before a column that no index is to be chosen for."""
    always, never = "TRUE", "FALSE"

    def value(self, type: IndexedType) -> str:
        """Column of `search_attributes` with the values of a type."""
        match type:
            case IndexedType.DOUBLE:
                return "value_double"
            case IndexedType.TEXT | IndexedType.KEYWORD | IndexedType.KEYWORD_LIST:
                return "value_text"
            case _:
                return "value_int"

    def parameter(self, number: int, type: IndexedType) -> str:
        """A parameter where it stands, for a value of a type."""
        return f"?{number}"

    def by_index(self, index: str) -> str:
        """Behind a table's alias: rows are to be found along that index."""
        return ""

    def numbers(self, union: str) -> str:
        """Row numbers of several sources, as a SELECT of which each row is looked for."""
        return union

    def same(self, one: str, other: str) -> str:
        """Whether two values are the same one or are both missing."""
        return f"{one} IS NOT DISTINCT FROM {other}"

    def page(self, columns: Sequence[tuple[str, bool]], branches: Sequence[str], order: str, limit: str) -> str:
        """The first rows of all branches in order; `columns` with whether they hold floats."""
        each = " UNION ALL ".join(f"({branch} ORDER BY {order} LIMIT {limit})" for branch in branches)
        names = ", ".join(name for name, _ in columns)
        return f"SELECT {names} FROM ({each}) AS f ORDER BY {order} LIMIT {limit}"

    def statement(self, sql: str, parameters: Sequence[Value | None]) -> Statement:
        """What is handed to the driver."""
        raise NotImplementedError


class _Sqlite(Dialect):
    key = ("id",)
    owner = ("execution_id",)
    is_partitioned = False
    unindexed = "+"
    always, never = "1", "0"

    def value(self, type: IndexedType) -> str:
        return "value"

    def by_index(self, index: str) -> str:
        return f" INDEXED BY {index}"

    def same(self, one: str, other: str) -> str:
        return f"{one} IS {other}"

    def page(self, columns: Sequence[tuple[str, bool]], branches: Sequence[str], order: str, limit: str) -> str:
        """One row, a JSON array of cursors: Python's sqlite3 takes the interpreter for every row that it gives."""
        exact = ", ".join(_exact(name) if is_float else name for name, is_float in columns)
        return (
            f"SELECT json_group_array(json_array({exact})) FROM ("
            f"{' UNION ALL '.join(branches)} ORDER BY {order} LIMIT {limit})"
        )

    def statement(self, sql: str, parameters: Sequence[Value | None]) -> Statement:
        """With parameters in the order of their places: Python's sqlite3 takes numbered ones for named ones."""
        order = [int(number) - 1 for number in _NUMBERED.findall(sql)]
        return Statement(_NUMBERED.sub("?", sql), [parameters[place] for place in order])


def _exact(column: str) -> str:
    """JSON would round a float."""
    return f"iif({column} IS NULL, NULL, printf('%!.17g', {column}))"


class _Postgres(Dialect):
    def parameter(self, number: int, type: IndexedType) -> str:
        """With its type, which is as wide as a filter's values: a narrower column would refuse a larger one."""
        return f"?{number}::{_POSTGRES_TYPES[self.value(type)]}"

    def statement(self, sql: str, parameters: Sequence[Value | None]) -> Statement:
        return Statement(_NUMBERED.sub(r"$\1", sql), list(parameters))


_POSTGRES_TYPES = {"value_double": "double precision", "value_text": "text", "value_int": "bigint"}


class _Mysql(Dialect):
    def numbers(self, union: str) -> str:
        """As a table, which is read once and leads to its rows; a union alone would be asked again for every row."""
        return f"SELECT * FROM ({union}) AS u"

    def by_index(self, index: str) -> str:
        return f" FORCE INDEX ({index})"

    def same(self, one: str, other: str) -> str:
        return f"{one} <=> {other}"

    def statement(self, sql: str, parameters: Sequence[Value | None]) -> Statement:
        """Text as bytes: so the columns hold it (VARBINARY), whatever the connection's collation."""
        order = [parameters[int(number) - 1] for number in _NUMBERED.findall(sql)]
        return Statement(
            _NUMBERED.sub("%s", sql), [value.encode() if isinstance(value, str) else value for value in order]
        )


SQLITE: Dialect = _Sqlite()
POSTGRES: Dialect = _Postgres()
MYSQL: Dialect = _Mysql()
"""MySQL and MariaDB."""
