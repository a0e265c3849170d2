"""A seed says everything: the same seed takes the same path, commit by commit, to the nanosecond."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.checks import ORDER, fingerprint
from tests.simulation.faults import KINDS, CrashPoint
from tests.simulation.harness import simulate
from tests.simulation.programs import MESSAGES, Program, generate

SEEDS = [*range(0, 200, 5), *range(MESSAGES, MESSAGES + 20)]


@pytest.mark.parametrize("program", [ORDER, *map(generate, SEEDS)], ids=lambda program: str(program.seed))
def test_a_run_takes_the_same_path_twice(program: Program) -> None:
    for crashes in ([], [CrashPoint(3, "before")], [CrashPoint(2, "after")]):
        assert simulate(program, crashes).disk.trace == simulate(program, crashes).disk.trace


@pytest.mark.parametrize("program", [ORDER, *map(generate, SEEDS[::6])], ids=lambda program: str(program.seed))
def test_a_fleet_takes_the_same_path_twice(program: Program) -> None:
    for crashes in ([], [CrashPoint(3, "stall")], [CrashPoint(2, "drain")], [CrashPoint(4, "before")]):
        assert simulate(program, crashes, nodes=3).disk.trace == simulate(program, crashes, nodes=3).disk.trace


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("program", [ORDER, *map(generate, SEEDS[::6])], ids=lambda program: str(program.seed))
def test_a_second_fault_changes_nothing_of_what_was_before_it(program: Program, nodes: int) -> None:
    """So that there is something left behind the first one for it to befall."""
    for kind in KINDS:
        once, twice = list[str](), list[str]()
        first = CrashPoint(2, kind)
        left = simulate(program, [first], nodes=nodes, tell=once.append).boundaries
        report = simulate(program, [first, CrashPoint(left, "before")], nodes=nodes, tell=twice.append)
        assert report.struck == 2
        second = next(index for index, line in enumerate(twice) if line.endswith(f": before commit {left}"))
        assert twice[:second] == once[:second]


def test_a_run_takes_the_same_path_in_another_process() -> None:
    fingerprints = {_fingerprints_in_a_process_hashing_by(str(seed)) for seed in (0, 1)}
    assert fingerprints == {" ".join(fingerprint(seed) for seed in SEEDS)}


def _fingerprints_in_a_process_hashing_by(hash_seed: str) -> str:
    """Sets and dictionaries of strings are ordered by a hash that differs from process to process."""
    code = f"from tests.simulation.checks import fingerprint; print(*map(fingerprint, {SEEDS}))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, check=True)
    return done.stdout.decode().strip()
