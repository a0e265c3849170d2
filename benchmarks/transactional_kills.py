"""Transactional activities under kill -9: does the user's table agree with the history, on every run?

    python -m benchmarks.transactional_kills [--runs 10000] [--kills 40] [--seed 1]

A child process runs workflows, each with one transactional activity that inserts one row and returns its row id. It
is killed at random moments and started again until all are done. After each kill the file is read from outside, and for
every workflow the table must say what the history says: one row if and only if the activity completed, with the
row id that was recorded. There is no idempotency key, and no row may be there twice.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure import Engine, Transaction, activity, call, workflow
from perdure.stores.reading import StoreFile

AT_ONCE = 100


@activity(transactional=True, name="transactional_kills.create_table")
def create_table(tx: Transaction) -> None:
    tx.execute("CREATE TABLE IF NOT EXISTS bookings (id INTEGER PRIMARY KEY, workflow_id TEXT NOT NULL)")


@activity(transactional=True, name="transactional_kills.book")
def book(tx: Transaction, order: int) -> int:
    """Nothing here makes a second row impossible but the transaction itself."""
    return tx.execute("INSERT INTO bookings (workflow_id) VALUES (?)", (activity.info().workflow_id,)).lastrowid or 0


@workflow(name="transactional_kills.prepare")
def prepare() -> None:
    call(create_table)


@workflow(name="transactional_kills.booking")
def booking(order: int) -> int:
    return call(book, order)


async def work(url: str, runs: int) -> None:
    """The child: run what is not done yet. Prints `ready` when it begins, and a line for each that is done."""
    workflows, activities = [prepare, booking], [create_table, book]
    async with Engine(url, workflows=workflows, activities=activities, max_concurrent_activities=AT_ONCE) as engine:
        await engine.run(prepare, id="prepare")
        print("ready", flush=True)
        orders = iter(range(runs))

        async def lane() -> None:
            for order in orders:
                await engine.run(booking, order, id=f"order-{order}")
                print("done", flush=True)

        await asyncio.gather(*(lane() for _ in range(AT_ONCE)))


@dataclass(slots=True)
class Audit:
    """What the file says, seen from outside."""

    started: int
    booked: int
    problems: list[str]


def audit(file: Path) -> Audit:
    """Compare the table with the histories, run by run."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        try:
            rows = connection.execute("SELECT workflow_id, id FROM bookings").fetchall()
        except sqlite3.OperationalError:
            rows = []  # killed before the table was made
    connection.close()
    problems: list[str] = []
    row_of = dict(rows)
    if len(row_of) != len(rows):
        problems.append(f"{len(rows) - len(row_of)} rows are there twice")
    started = 0
    with StoreFile(f"sqlite:///{file}") as store:
        for summary in store.executions("default", workflow_type=booking.name):
            started += 1
            recorded = recorded_row(store.history(summary.key))
            row = row_of.pop(summary.key.workflow_id, None)
            if row != recorded:
                problems.append(f"{summary.key.workflow_id}: the table says {row}, the history {recorded}")
    problems += [f"{workflow_id}: a row without a workflow" for workflow_id in row_of]
    return Audit(started, len(rows), problems)


def recorded_row(events: list[HistoryEvent]) -> int | None:
    """The row id that the activity's completion holds."""
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            return int(event.activity_task_completed_event_attributes.result.payloads[0].data)
    return None


def run_under_kills(directory: Path, runs: int, kills: int, seed: int) -> tuple[int, Audit]:
    """Returns how many kills were dealt, and the last audit. Raises AssertionError at the first disagreement."""
    chance = random.Random(seed)
    moments = sorted(chance.sample(range(1, runs), kills))  # by how many are done, those of earlier lives too
    file = directory / "bookings.db"
    dealt = 0
    while True:
        command = [sys.executable, "-m", "benchmarks.transactional_kills", "--child", str(file), "--runs", str(runs)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child:
            lives = runs + 1 if dealt == kills else moments[dealt]
            said = sum(1 for _ in itertools.islice(child.stdout, lives + 1))
            if said > lives:
                time.sleep(chance.uniform(0, 0.01))
                child.send_signal(signal.SIGKILL)
            child.stdout.read()
        dealt += child.returncode == -signal.SIGKILL
        seen = audit(file)
        assert not seen.problems, "\n".join([f"after {dealt} kills (seed {seed}):", *seen.problems[:20]])
        if child.returncode == 0:
            return dealt, seen
        assert child.returncode == -signal.SIGKILL, f"the child ended with {child.returncode}"
        print(f"kill {dealt}: {seen.started} started, {seen.booked} rows, all agree", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Transactional activities under kill -9.")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        asyncio.run(work(f"sqlite:///{options.child}", options.runs))
        return
    with tempfile.TemporaryDirectory(prefix="perdure-transactional-") as directory:
        begin = time.perf_counter()
        dealt, seen = run_under_kills(Path(directory), options.runs, options.kills, options.seed)
        taken = time.perf_counter() - begin
    assert seen.booked == options.runs, f"{seen.booked} rows for {options.runs} runs"
    print(f"{options.runs} runs under {dealt} SIGKILLs in {taken:.0f} s: table and history agree on every one")


if __name__ == "__main__":
    main()
