"""Values as they stand in SQL, and statements with places for them: bytes, put together here.

A group of commits is one text of several statements, which no driver's parameters can say. What stands between quotes
is escaped here and nowhere else: in the session that `door.py` sets up a backslash escapes and a quote is doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any

from perdure.core.names import ExecutionKey
from perdure.stores.mysql.queries import query
from perdure.stores.partitions import PARTITIONS, Partitions


class Raw(bytes):
    """SQL that is a value's place already."""

    __slots__ = ()


def literal(value: Any) -> bytes:
    """A value in SQL. Raises UnicodeError, TypeError, OverflowError for what cannot be one."""
    write = _LITERALS.get(value.__class__)
    if write is not None:
        return write(value)
    if isinstance(value, int):  # an enum's member
        return b"%d" % value
    raise TypeError(f"{type(value).__name__} is no value of the store")


def quoted(data: bytes) -> bytes:
    """Bytes in SQL."""
    return b"_binary'%b'" % data.replace(b"\\", b"\\\\").replace(b"'", b"''")


_LITERALS: Mapping[type, Callable[[Any], bytes]] = {
    int: b"%d".__mod__,
    bytes: quoted,
    str: lambda value: quoted(value.encode()),
    Raw: lambda value: value,
    type(None): lambda value: b"NULL",
    float: lambda value: repr(value).encode(),
}


def row(values: Iterable[Any]) -> bytes:
    """Values in brackets, as in VALUES and IN. Raises as `literal`."""
    return b"(%b)" % b",".join([literal(value) for value in values])


def rows(many: Iterable[Iterable[Any]]) -> Raw:
    """Rows, separated."""
    return Raw(b",".join(map(row, many)))


class Statement:
    """One of `queries/`: its places are `%s`, and `%p` for the test of a partition."""

    __slots__ = ("_parts",)

    def __init__(self, sql: str) -> None:
        self._parts = [part.encode() for part in sql.split("%s")]

    def __call__(self, *values: Any) -> bytes:
        """With its values."""
        parts = self._parts
        text = [parts[0]]
        for value, part in zip(values, parts[1:], strict=True):
            text += (literal(value), part)
        return b"".join(text)


@cache
def statement(name: str) -> Statement:
    """The one in `queries/NAME.sql`."""
    return Statement(query(name))


def of_partitions(name: str, partitions: Partitions, *values: Any) -> bytes:
    """A statement that looks at the rows `w` of some partitions: `%p` is the test of it."""
    if partitions.is_all:
        test = "TRUE"
    else:
        test = "ascii(substring(%s, (w.partition_id >> 3) + 1, 1)) >> (w.partition_id & 7) & 1"
        before = query(name).partition("%p")[0].count("%s")
        values = (*values[:before], _bits_of(partitions), *values[before:])
    return _shared_statement(name, test)(*values)


@cache
def _shared_statement(name: str, test: str) -> Statement:
    return Statement(query(name).replace("%p", test))


def _bits_of(partitions: Partitions) -> bytes:
    bits = bytearray(PARTITIONS // 8)
    for partition in partitions:
        bits[partition >> 3] |= 1 << (partition & 7)
    return bytes(bits)


def hash_of(*names: str) -> bytes:
    """What names of any length are found by: 128 bits of a BLAKE2b digest of them, each with its length."""
    encoded = [name.encode() for name in names]
    return blake2b(b"".join([b"%d:%b" % (len(name), name) for name in encoded]), digest_size=16).digest()


def key_hash(key: ExecutionKey) -> bytes:
    """What a run is found by."""
    return hash_of(key.namespace, key.workflow_id, key.run_id)


Rows = Sequence[tuple[Any, ...]]
