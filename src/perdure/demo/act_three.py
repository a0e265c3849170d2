"""Act 3: a thousand orders, three moody services, and an engine that is killed again and again.

The kills come when the services have answered a given number of calls; the numbers are drawn from the seed, so
the kills fall at any step of any order and all of them fall before the last order is through. Where two
numbers lie close together the engine is killed while it is still recovering.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from perdure.demo.audit import Report, audit, read_books
from perdure.demo.engine_store import EngineStore
from perdure.demo.orders import Order, write_orders
from perdure.demo.processes import Process, ProcessFailed, Town
from perdure.demo.screen import Screen, Storm
from perdure.demo.services.ledger import first_call_at_ns, open_for_reading

CALLS_PER_ORDER = 3.5
"""A little less than the services are called for an average order: kills are planned within that."""
LOOK_EVERY_S = 0.01
STUCK_AFTER_S = 60.0
MOODS = 0.01
"""The chance that a service answers 503, and that it hangs up after having acted, per call."""


@dataclass(frozen=True)
class Storms:
    """What Act 3 came to. Times in nanoseconds."""

    report: Report
    kills: int
    resumed_after_ns: Sequence[int]
    """Restart to first step, of every restart that lived long enough to take one."""
    took_ns: int
    repeated_calls: int
    """Calls that came again under a key that was known, and were answered without acting."""


def act_three(
    screen: Screen, directory: Path, store: EngineStore, orders: Sequence[Order], kills: int, seed: int
) -> Storms:
    """Fulfil the orders under fire, then audit them."""
    screen.act(
        3,
        f"{len(orders):,} orders, {kills} kills",
        "The engine's process is killed at random moments and started again. The services are moody, too:",
        "one call in a hundred is answered 503, and after one in a hundred the service acts, then hangs up.",
    )
    file = directory / "orders.csv"
    with file.open("w") as text:
        write_orders(orders, text)
    with Town(directory) as town:
        storm = _Storm(town, store, file, len(orders), kills, seed)
        with screen.storm(len(orders), kills) as progress:
            began = time.monotonic_ns()
            storm.rage(progress)
            took = time.monotonic_ns() - began
        report = audit(orders, store.ended(), read_books(*town.ledgers))
        report = replace(report, checks=[*report.checks, store.check()])
        return Storms(report, storm.killed, storm.resumed_after_ns, took, _repeated(town.ledgers))


@dataclass(frozen=True)
class Kill:
    """When to kill: so long after the services have answered so many calls."""

    after_calls: int
    delay_s: float


def plan_kills(orders: int, kills: int, seed: int) -> list[Kill]:
    """Random moments of the whole work, in order; the same for the same seed."""
    dice = random.Random(seed)
    moments = sorted(dice.randrange(1, int(orders * CALLS_PER_ORDER)) for _ in range(kills))
    return [Kill(moment, dice.uniform(0, 0.05)) for moment in moments]


class _Storm:
    def __init__(self, town: Town, store: EngineStore, orders: Path, count: int, kills: int, seed: int) -> None:
        self._town = town
        self._store = store
        self._orders = orders
        self._plan = plan_kills(count, kills, seed)
        self._seed = seed
        self.killed = 0
        self._finished = 0
        self.resumed_after_ns: list[int] = []

    def rage(self, progress: Storm) -> None:
        """Start the engine, kill it, start it again, until every order is finished."""
        for number, service in enumerate(self._town.services):
            service.client.arm("down", probability=MOODS, seed=self._seed + number)
            service.client.arm("hang_up_after", probability=MOODS, seed=self._seed + 10 + number)
        with ExitStack() as stack:
            calls = _CallCounter(self._town.ledgers, stack)
            while not self._one_life(calls, progress):
                pass

    def _one_life(self, calls: _CallCounter, progress: Storm) -> bool:
        """One engine process, to its death or to the end of the work. True: all is done."""
        with self._store.start_engine(self._orders, self._town) as engine:
            done = self._watch(engine, calls, progress)
            if not done:
                time.sleep(self._plan[self.killed].delay_s)
                engine.kill_9()
                self.killed += 1
            first = first_call_at_ns(self._town.ledgers, str(engine.pid))
            if first is not None and self.killed > (0 if done else 1):
                self.resumed_after_ns.append(first - engine.started_at_ns)
            progress.show(self._finished, self.killed)
        return done

    def _watch(self, engine: Process, calls: _CallCounter, progress: Storm) -> bool:
        """Until the engine is through (True) or the next kill is due (False)."""
        news_at, news = time.monotonic(), (0, 0)
        while not engine.ended:
            seen = calls.count()
            if self.killed < len(self._plan) and seen >= self._plan[self.killed].after_calls:
                return False
            self._note_progress(engine, progress)
            if (seen, self._finished) != news:
                news_at, news = time.monotonic(), (seen, self._finished)
            elif time.monotonic() - news_at > STUCK_AFTER_S:
                raise ProcessFailed(f"nothing has moved for {STUCK_AFTER_S:.0f} s: {self._finished} orders finished")
            time.sleep(LOOK_EVERY_S)
        if engine.wait(10) != 0:
            raise ProcessFailed("the engine's process failed:\n" + "\n".join(engine.errors[-30:]))
        self._note_progress(engine, progress)
        return True

    def _note_progress(self, engine: Process, progress: Storm) -> None:
        reports = [line for line in engine.lines[-3:] if line.startswith("finished ")]
        if reports:
            self._finished = max(self._finished, int(reports[-1].split()[1]))
            progress.show(self._finished, self.killed)


class _CallCounter:
    """How many calls the ledgers hold: the clock by which kills are planned."""

    def __init__(self, ledgers: Sequence[Path], stack: ExitStack) -> None:
        self._files = [stack.enter_context(closing(open_for_reading(path))) for path in ledgers]

    def count(self) -> int:
        return sum(file.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()[0] for file in self._files)


def _repeated(ledgers: Sequence[Path]) -> int:
    total = 0
    for path in ledgers:
        with closing(open_for_reading(path)) as file:
            total += file.execute("SELECT coalesce(sum(repeated), 0) FROM calls").fetchone()[0]
    return total


def median_ns(values: Sequence[int]) -> int:
    """The middle one; 0 of none."""
    return int(statistics.median(values)) if values else 0
