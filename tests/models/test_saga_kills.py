"""Two hundred sagas under `kill -9`: what was done is undone, nothing else, in reverse, and once by its key."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.models.saga_process import STEPS, breaks_at
from tests.servers.chosen import kinds
from tests.servers.stores import new_store

ORDERS = 200
KILLS = 12
ROOT = Path(__file__).parents[2]


def lives(arguments: list[str], chance: random.Random) -> int:
    """Processes one after the other, killed until enough were; the last one is left to end. Returns how many lived."""
    for life in range(1, 1000):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.models.saga_process", *arguments], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        with child, child.stdout:
            assert child.stdout.readline() == b"open\n"
            if life <= KILLS:
                time.sleep(chance.uniform(0.01, 0.15))  # the moment of a kill is not an event of anything
                child.kill()
            if child.wait(60) == 0:
                return life
    raise AssertionError("it does not end")


def expected(order: int) -> list[str]:
    """What happens for one order."""
    broken = breaks_at(order)
    done = [f"do {step}" for step in range(broken)]
    return done if broken == STEPS else done + [f"undo {step}" for step in reversed(range(broken))]


@pytest.mark.parametrize("kind", [kind for kind in kinds("sqlite") if kind != "memory"])
def test_two_hundred_sagas_under_kill_9(kind: str, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    with new_store(kind, tmp_path) as url:
        assert lives([url, str(effects), str(ORDERS)], random.Random(9)) > KILLS
    happened: dict[int, dict[str, str]] = defaultdict(dict)
    for line in effects.read_text().splitlines():
        what, order, step, key = line.split()
        # A second line under one key is an attempt whose result was lost: the service knows the key, and does nothing.
        assert happened[int(order)].setdefault(key, f"{what} {step}") == f"{what} {step}"
    assert {order: list(happened[order].values()) for order in range(ORDERS)} == {
        order: expected(order) for order in range(ORDERS)
    }
