"""Scene 06b: done once, seen from the other side.

Whoever has the effect must honour the key. First a bank on a database of its own does, with
`perdure.idempotency`: the first answer is kept in the transaction of the effect, and every later call gets it. Then the
effect is a row in the engine's own file: a transactional activity needs no key at all, for its row and its completion
are durable together or not at all. Both are killed at the worst moment.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

from stage import Stage, play, seen, show, step, title

from perdure import Engine, Retry, Transaction, activity, call, workflow
from perdure.idempotency import IdempotencyKeys

QUICK = Retry(initial_interval="50ms")
TABLE = "CREATE TABLE IF NOT EXISTS charges (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL)"
keys = IdempotencyKeys("charges", keep="7 days")


@activity(start_to_close_timeout="10s", retry=QUICK)
def charge(cents: int) -> int:
    """The bank: one transaction for the charge and for the answer that its key is to get."""
    info = activity.info()
    print(f"attempt {info.attempt} key {info.idempotency_key}", flush=True)
    with closing(sqlite3.connect(os.environ["BANK"])) as bank:
        keys.create_table(bank)
        bank.execute(TABLE)

        def insert() -> int | None:
            return bank.execute("INSERT INTO charges (cents) VALUES (?)", (cents,)).lastrowid

        with bank:
            charge_id = keys.once(bank, info.idempotency_key, {"cents": cents}, insert)
    if info.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # charged, and dead before anybody could write it down
    return charge_id or 0


@activity(transactional=True, retry=QUICK)
def book(tx: Transaction, seat: str) -> int:
    """No key: the row is there if, and only if, the history says so."""
    print(f"attempt {activity.info().attempt}", flush=True)
    tx.execute("CREATE TABLE IF NOT EXISTS bookings (id INTEGER PRIMARY KEY, seat TEXT NOT NULL)")
    booking_id = tx.execute("INSERT INTO bookings (seat) VALUES (?)", (seat,)).lastrowid
    if activity.info().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # written, but not committed
    return booking_id or 0


@workflow
def pay(cents: int) -> int:
    return call(charge, cents)


@workflow
def reserve(seat: str) -> int:
    return call(book, seat)


def paying(file: str) -> None:
    with Engine(f"sqlite:///{file}") as engine:
        print("charge", engine.run(pay, 4200, id="order-1001"), flush=True)


def booking(file: str) -> None:
    with Engine(f"sqlite:///{file}") as engine:
        print("booking", engine.run(reserve, "7a", id="order-1001"), flush=True)


def rows(file: object, table: str) -> list[tuple[int, object]]:
    with closing(sqlite3.connect(str(file))) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()


def story(stage: Stage) -> None:
    title("Scene 06b: done once, seen from the other side")
    file, bank = stage.directory / "orders.db", stage.directory / "bank.db"

    step("a bank with perdure.idempotency charges, and its caller dies before it has the answer")
    first = stage.process(paying, file, BANK=str(bank))
    seen("the process was ended by SIGKILL", first.wait(30) == -signal.SIGKILL)
    show(f"the bank's table: {rows(bank, 'charges')}")
    second = stage.process(paying, file, BANK=str(bank))
    charge_id = second.wait_line("charge ")
    show(second.lines[0])
    seen("the second attempt got the first answer", int(charge_id) == rows(bank, "charges")[0][0])
    seen("the bank charged once", rows(bank, "charges") == [(1, 4200)])

    step("a transactional activity writes its row into the engine's own file, and dies before the commit")
    other = stage.directory / "seats.db"
    first = stage.process(booking, other)
    seen("the process was ended by SIGKILL", first.wait(30) == -signal.SIGKILL)
    tables = rows(other, "sqlite_schema WHERE name = 'bookings'")
    seen("nothing of it is there: no row, no table, no completion", tables == [])
    second = stage.process(booking, other)
    booking_id = second.wait_line("booking ")
    show(second.lines[0])
    seen(
        "the second attempt's row is there, once, without any key", rows(other, "bookings") == [(int(booking_id), "7a")]
    )


if __name__ == "__main__":
    play(__file__, story, paying, booking)
