"""The order-fulfilment system: every path, alone in a town of its own, ends with ledgers that an auditor accepts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
STORY = EXAMPLES / "fulfilment_story.py"
SHELVES = "✓ the warehouse agrees: what is not on a shelf is held for an order"

PATHS = {
    "picked_up": ["✓ charged once, shipped once, told once"],
    "paid_late": [
        "✓ the goods are held meanwhile",
        "✓ but not for more than a day",
        "✓ when the money is there, they are reserved again and shipped",
    ],
    "not_picked_up": ["✓ the money is back", "✓ and the lamp is back on the shelf"],
    "declined": ["✓ nothing was charged, nothing is held"],
    "out_of_stock": ["✓ charged and refunded"],
    "never_paid": ["✓ after two weeks nobody waits any more", "✓ money that comes even later goes back by itself"],
    "paid_too_late": ["✓ the late one is told so", "✓ and has the money back"],
    "cancelled": ["✓ it is undone like any other", "✓ nothing was charged"],
    "refund_is_down": [
        "✓ past its ceiling the refund waits for a person",
        "✓ the ledgers say who is charged, and neither has goods nor money",
        "1 refund was asked for again under its key, and not made again",
        "✓ 1010 was refunded once",
        "✓ 1011 was refunded once",
        "✓ the next reconciliation finds nothing",
    ],
    "killed_while_it_waits": ["✓ charged once, shipped once, told once, by three processes"],
    "rush": ["✓ all 36 with a good card were charged, shipped and told once; the others were told"],
}


def run(*arguments: str) -> str:
    played = subprocess.run(
        [sys.executable, str(STORY), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert played.stderr == ""
    return played.stdout


@pytest.mark.parametrize("path", PATHS)
def test_a_path_alone_ends_with_the_right_ledgers(path: str) -> None:
    shown = run("alone", path)
    assert SHELVES in shown
    assert [fact for fact in PATHS[path] if fact not in shown] == []


def test_the_whole_story_is_told_and_nothing_is_left_unsettled() -> None:
    shown = run()
    assert shown.count(SHELVES) == len(PATHS)
    assert [fact for facts in PATHS.values() for fact in facts if fact not in shown] == []
    assert "✓ of all these orders none is charged and neither fulfilled nor refunded" in shown


def test_every_path_of_the_story_is_a_test() -> None:
    told = re.findall(r"^(?:DAYS|KILLS): .*? = \[(.*?)\]$", STORY.read_text(), re.MULTILINE | re.DOTALL)
    assert {name for listed in told for name in re.findall(r"\w+", listed)} == set(PATHS)
