"""Many programs, each stopped in every way at every commit, on fleets of several sizes.

A unit of work is one program on a fleet of one size. Units know nothing of one another, so they are shared out to
processes; what fails in one says how to see it again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count

from tests.simulation.checks import ORDER, RELAY, Failed, check_run, crash_twice, same_result, saying_how
from tests.simulation.faults import KINDS, crash_points
from tests.simulation.programs import MESSAGES, Program, generate


@dataclass
class Tally:
    """What came of a unit, or of many.

    Attributes:
        faults: how many of each kind.
        failures: a line each, or a few, that say how to see them again.
    """

    programs: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])

    def add(self, other: Tally) -> None:
        """Take what came of another unit."""
        self.programs += other.programs
        self.faults += other.faults
        self.failures += other.failures

    @property
    def crashes(self) -> int:
        """Faults of all kinds."""
        return self.faults.total()


def attack(program: Program, nodes: int) -> Tally:
    """Stop a program in every way at every commit, and its recovery too; go on after failures."""
    tally = Tally(programs=1)
    try:
        whole = check_run(program, nodes=nodes)
    except Failed as failed:
        tally.failures.append(str(failed))
        return tally
    for point in crash_points(whole.boundaries, KINDS):
        tally.faults[point.kind] += 1
        try:
            crashed = check_run(program, [point], nodes=nodes)
            with saying_how(program, nodes, [point]):
                same_result(whole, crashed)
        except Failed as failed:
            tally.failures.append(str(failed))
    try:
        tally.faults["twice"] += crash_twice(program, nodes)
    except Failed as failed:
        tally.failures.append(str(failed))
    return tally


def programs(first: int) -> Iterator[int | str]:
    """The two that have names, and seeds without and with messages in turn."""
    yield from ("order", "relay")
    for number in count(first):
        yield number
        yield MESSAGES + number


def program_of(name: int | str) -> Program:
    """The program of a seed, or of a name."""
    return {"order": ORDER, "relay": RELAY}.get(str(name)) or generate(int(name))


def _unit(name: int | str, nodes: int) -> Tally:
    logging.disable()
    return attack(program_of(name), nodes)


def campaign(nodes: int, crashes: int, first: int, jobs: int) -> Iterator[Tally]:
    """Attack program after program on fleets of so many nodes, until there were so many crashes; each unit as it ends.

    Args:
        first: seed of the first program.
        jobs: processes.
    """
    names = programs(first)
    done = 0
    with ProcessPoolExecutor(jobs) as pool:
        running: set[Future[Tally]] = set()
        while done < crashes:
            while len(running) < 2 * jobs:
                running.add(pool.submit(_unit, next(names), nodes))
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                tally = future.result()
                done += tally.crashes
                yield tally
        for future in running:
            future.cancel()
