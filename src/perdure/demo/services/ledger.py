"""A service's ledger: a SQLite file in which every action is durable before it is answered.

Beside the tables of its owner a ledger keeps two of its own. `answers` holds the first answer given
under each idempotency key, which is what makes a repeated call harmless; it is written in the same transaction as the
action. `calls` holds every call that got as far as the ledger: who called (the caller's process id), for
which order, and whether it was answered afresh or from `answers`.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, status INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, caller TEXT NOT NULL, path TEXT NOT NULL,
    order_id TEXT NOT NULL, key TEXT, status INTEGER NOT NULL, repeated INTEGER NOT NULL
);
"""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP status and a JSON body."""

    status: int
    body: dict[str, Any]


class Call(msgspec.Struct, frozen=True):
    """One call as it arrived: when, on which path, from which process, for which order, under which key."""

    at_ns: int
    caller: str
    path: str
    order_id: str
    key: str | None


class Ledger:
    """The file and the one connection that writes it; threads take turns."""

    def __init__(self, path: Path, schema: str) -> None:
        self._turn = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA + schema)

    def record(self, call: Call, act: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Act once for this call's key and make action, answer and call durable together.

        A key that was answered before gets its first answer again and `act` is not called.
        """
        with self._turn:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                answer = self._first_answer(call.key)
                repeated = answer is not None
                if answer is None:
                    answer = act(self._db)
                    self._keep_answer(call.key, answer)
                self._keep_call(call, answer.status, repeated)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            return answer

    def read(self, view: Callable[[sqlite3.Connection], dict[str, Any]]) -> dict[str, Any]:
        """What `view` makes of the ledger, between two actions."""
        with self._turn:
            return view(self._db)

    def _first_answer(self, key: str | None) -> Answer | None:
        row = self._db.execute("SELECT status, body FROM answers WHERE key = ?", (key,)).fetchone()
        return Answer(row[0], msgspec.json.decode(row[1])) if row else None

    def _keep_answer(self, key: str | None, answer: Answer) -> None:
        if key is not None:
            values = (key, answer.status, msgspec.json.encode(answer.body))
            self._db.execute("INSERT INTO answers VALUES (?, ?, ?)", values)

    def _keep_call(self, call: Call, status: int, repeated: bool) -> None:
        self._db.execute(
            "INSERT INTO calls (at_ns, caller, path, order_id, key, status, repeated) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (call.at_ns, call.caller, call.path, call.order_id, call.key, status, repeated),
        )


def first_call_at_ns(ledgers: list[Path], caller: str) -> int | None:
    """When the process `caller` first reached any of these ledgers, nanoseconds since the epoch; None: never."""
    found: list[int] = []
    for path in ledgers:
        with open_for_reading(path) as db:
            row = db.execute("SELECT min(at_ns) FROM calls WHERE caller = ?", (caller,)).fetchone()
        if row[0] is not None:
            found.append(row[0])
    return min(found, default=None)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A read-only connection to a ledger that its service may be writing."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)


def now_ns() -> int:
    """Wall-clock time, nanoseconds since the epoch."""
    return time.time_ns()
