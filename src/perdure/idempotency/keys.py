"""Do once per key, return the first answer: for the side of a service.

An engine runs an activity at least once and gives it a key that is the same every time. Somebody must honour the
key, and that is the service that has the effect:

    keys = IdempotencyKeys("charges")
    keys.create_table(connection)                       # once

    with connection:                                    # your transaction
        charge_id = keys.once(connection, key, request, lambda: insert_charge(connection, request))

The first call runs the function and keeps its answer in a table, in the caller's own transaction: the effect and the
answer are durable together or not at all. Every later call with that key gets that answer, and the function
does not run. A second call that comes while the first is at work waits for it, as the database makes it wait.

It works on a `sqlite3` connection and on any connection of the Python database API whose parameters are
marked `%s`, such as psycopg's on PostgreSQL. The effect must be made through the same connection; an effect
elsewhere (a mail, another service) is not part of the transaction, and nobody can make it so.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, TypeVar, cast

import msgspec

from perdure.sdk.errors import PerdureError
from perdure.sdk.moments import ns_of
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration, positive_duration

R = TypeVar("R")

_SAVEPOINT = "idempotency_key"
_DEFAULT_KEEP = "30 days"


class KeyConnection(Protocol):
    """What is asked of a connection: `sqlite3.Connection`, `psycopg.Connection`, a transactional activity's `tx`."""

    def cursor(self) -> Any:
        """A cursor of the Python database API."""
        ...


class KeyReusedError(PerdureError):
    """A key came back with another request: one of the two callers is wrong. Nothing was done.

    Attributes:
        key: the key.
        scope: of the `IdempotencyKeys`.
    """

    def __init__(self, message: str, *, key: str, scope: str) -> None:
        super().__init__(message)
        self.key = key
        self.scope = scope


class TransactionNeededError(PerdureError):
    """The connection commits each statement by itself: effect and answer would not be durable together."""


@lists_options
class IdempotencyKeys:
    """The keys of one operation of a service.

    Args:
        scope: names the operation; the same key in another scope is another key.
        table: where answers are kept; made by `create_table`. One table serves all scopes.
        keep: how long an answer is remembered. Longer than anybody may still repeat a request; after it the same
            key is a new one.
        now: the clock, for tests: gives datetimes that know their zone; default the time, in UTC.

    Raises:
        ValueError: the table's name is no plain identifier, `keep` is no duration.
    """

    def __init__(
        self,
        scope: str,
        *,
        table: str = "idempotency_keys",
        keep: Duration = _DEFAULT_KEEP,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", table):
            raise ValueError(f"table must be a plain name such as idempotency_keys, not {table!r}")
        self.scope = scope
        self.table = table
        self._keep_ns = positive_duration(keep, "keep") or 0
        self._now_ns = time.time_ns if now is None else lambda: ns_of(now())

    def create_table(self, connection: KeyConnection) -> None:
        """Make the table if it is not there. In the connection's transaction, or committed at once if it has none."""
        kind = "BLOB" if _is_qmark(connection) else "BYTEA"
        self._execute(
            connection,
            f"CREATE TABLE IF NOT EXISTS {self.table} (scope TEXT NOT NULL, idempotency_key TEXT NOT NULL, "
            f"fingerprint TEXT NOT NULL, answer {kind}, created_at_ns BIGINT NOT NULL, "
            "PRIMARY KEY (scope, idempotency_key))",
        )

    def once(self, connection: KeyConnection, key: str, request: Any, work: Callable[[], R], kind: Any = Any) -> R:
        """Run `work` if this key has not been seen; return its answer, now or then.

        Runs in the connection's transaction and leaves committing to the caller. An exception of `work` undoes
        what it wrote, through a savepoint, and is raised: the key is then as if it had not been used.

        Args:
            connection: in a transaction, or a `sqlite3` connection that begins one by itself (its default).
            key: from the caller: an engine's activities have `activity.info().idempotency_key`.
            request: what was asked. The same key with another request is an error. Anything that can be written as
                JSON, or bytes.
            work: makes the effect through `connection`; its answer must be something that can be written as JSON.
            kind: the type that a remembered answer is decoded to; without it, plain JSON values.

        Raises:
            KeyReusedError: the key was used for another request.
            TransactionNeededError: the connection is in autocommit mode and no transaction was begun.
            TypeError: the request or the answer cannot be written as JSON; what `work` wrote is undone.
        """
        fingerprint = fingerprint_of(request)
        _begin(connection)
        self._execute(connection, f"SAVEPOINT {_SAVEPOINT}")
        try:
            answer = self._once(connection, key, fingerprint, work, kind)
        except BaseException:
            self._execute(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            self._execute(connection, f"RELEASE SAVEPOINT {_SAVEPOINT}")
            raise
        self._execute(connection, f"RELEASE SAVEPOINT {_SAVEPOINT}")
        return answer

    def _once(self, connection: KeyConnection, key: str, fingerprint: str, work: Callable[[], R], kind: Any) -> R:
        now_ns = self._now_ns()
        self._forget(connection, key, now_ns)
        if not self._claim(connection, key, fingerprint, now_ns):
            return cast(R, self._remembered(connection, key, fingerprint, kind))
        answer = work()
        data = msgspec.json.encode(answer)
        sql = f"UPDATE {self.table} SET answer = ? WHERE scope = ? AND idempotency_key = ?"
        self._execute(connection, sql, (data, self.scope, key))
        if kind is Any:
            return answer
        return msgspec.json.decode(data, type=kind)

    def _forget(self, connection: KeyConnection, key: str, now_ns: int) -> None:
        """An answer that is past its time makes room for a new one."""
        sql = f"DELETE FROM {self.table} WHERE scope = ? AND idempotency_key = ? AND created_at_ns <= ?"
        self._execute(connection, sql, (self.scope, key, now_ns - self._keep_ns))

    def _claim(self, connection: KeyConnection, key: str, fingerprint: str, now_ns: int) -> bool:
        """Whether the key is new. Waits for whoever has it in a transaction under way."""
        sql = (
            f"INSERT INTO {self.table} (scope, idempotency_key, fingerprint, created_at_ns) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (scope, idempotency_key) DO NOTHING"
        )
        return self._execute(connection, sql, (self.scope, key, fingerprint, now_ns)).rowcount == 1

    def _remembered(self, connection: KeyConnection, key: str, fingerprint: str, kind: Any) -> Any:
        sql = f"SELECT fingerprint, answer FROM {self.table} WHERE scope = ? AND idempotency_key = ?"
        row = self._execute(connection, sql, (self.scope, key)).fetchone()
        stored, data = tuple(row)
        if stored != fingerprint:
            raise KeyReusedError(
                f"idempotency key {key!r} of {self.scope!r} was used for another request before: a key names one "
                "request, so either the request was changed on its way or the key is not unique",
                key=key,
                scope=self.scope,
            )
        if data is None:
            raise KeyReusedError(
                f"idempotency key {key!r} of {self.scope!r} is being used by this very transaction: `work` must not "
                "ask for its own key",
                key=key,
                scope=self.scope,
            )
        return msgspec.json.decode(bytes(data), type=kind)

    def prune(self, connection: KeyConnection, limit: int = 10_000) -> int:
        """Delete at most so many answers of this scope that are past their time; how many there were.

        In the connection's transaction; call it now and then, and again while it returns `limit`.
        """
        sql = (
            f"DELETE FROM {self.table} WHERE (scope, idempotency_key) IN (SELECT scope, idempotency_key FROM "
            f"{self.table} WHERE scope = ? AND created_at_ns <= ? ORDER BY created_at_ns LIMIT ?)"
        )
        return self._execute(connection, sql, (self.scope, self._now_ns() - self._keep_ns, limit)).rowcount

    def _execute(self, connection: KeyConnection, sql: str, parameters: tuple[Any, ...] = ()) -> Any:
        cursor = connection.cursor()
        if not _is_qmark(connection):
            sql = sql.replace("?", "%s")
        cursor.execute(sql, parameters)
        return cursor


def fingerprint_of(request: Any) -> str:
    """A digest of a request: the same for equal requests, whatever the order of their keys. Raises TypeError."""
    if isinstance(request, (bytes, bytearray, memoryview)):
        data = b"bytes:" + bytes(cast(bytes, request))
    else:
        data = b"json:" + msgspec.json.encode(request, order="deterministic")
    return hashlib.sha256(data).hexdigest()


def _is_qmark(connection: KeyConnection) -> bool:
    """SQLite's driver marks parameters `?`; so does the transaction that a transactional activity is given."""
    return isinstance(connection, sqlite3.Connection) or getattr(connection, "paramstyle", "") == "qmark"


def _begin(connection: KeyConnection) -> None:
    """Make sure that a transaction is under way. Raises TransactionNeededError."""
    if isinstance(connection, sqlite3.Connection):
        if connection.in_transaction:
            return
        if connection.isolation_level is None or getattr(connection, "autocommit", False) is True:
            raise TransactionNeededError(
                "this sqlite3 connection commits every statement by itself (isolation_level=None, or autocommit=True): "
                "begin a transaction first, with BEGIN IMMEDIATE"
            )
        # The driver begins one before INSERT, but not before SAVEPOINT; and a transaction that will write should
        # say so at once, or two of them may meet where neither can go on.
        connection.execute("BEGIN IMMEDIATE")
    elif getattr(connection, "autocommit", False) and _is_idle(connection):
        raise TransactionNeededError(
            "this connection is in autocommit mode and no transaction was begun: use `with connection.transaction():`"
        )


def _is_idle(connection: Any) -> bool:
    """Whether psycopg says that no transaction is open; of another driver nobody knows."""
    status = getattr(getattr(connection, "info", None), "transaction_status", None)
    return status is None or int(status) == 0
