"""A hundred and twenty events under `kill -9`: each subscriber gets each once, and each starts one workflow."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

EVENTS = 120
KILLS = 12
ROOT = Path(__file__).parents[2]


def lives(arguments: list[str], chance: random.Random) -> str:
    """Processes one after the other, killed until enough were; what the last one prints at its end."""
    for life in range(1, 1000):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.embedded.events_process", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        with child, child.stdout:
            assert child.stdout.readline() == "open\n"
            if life <= KILLS:
                time.sleep(chance.uniform(0, 0.08))  # the moment of a kill is not an event of anything
                child.kill()
            said = child.stdout.read()
            if child.wait(60) == 0:
                assert life > KILLS // 2, "it had ended before it could be killed often enough"
                return said
    raise AssertionError("it does not end")


def test_events_under_kill_9(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    said = lives([str(tmp_path / "events.db"), str(effects), str(EVENTS)], random.Random(12))
    found = json.loads(said)
    assert sorted(found["one"]) == list(range(EVENTS)), "told once each"
    assert found["many"] == found["one"], "in one order for all, also over many runs"
    assert found["runs"] > 5
    assert found["hubs"] > 2, "the hub has gone on as a new run, too"
    assert found["noted"] == EVENTS, "one workflow was started for each"
    keys: dict[str, set[str]] = {}
    for line in effects.read_text().splitlines():
        value, key = line.split()
        keys.setdefault(value, set()).add(key)
    assert sorted(map(int, keys)) == list(range(EVENTS))
    # A second line under one key is an attempt whose result was lost; another key would be another workflow.
    assert all(len(of_value) == 1 for of_value in keys.values())
