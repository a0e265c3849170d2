"""Record what Temporal's own server does: `python -m tests.differential.record [NAME…]`.

Rewrites `tests/differential/recordings/NAME.json`, of all scenarios when none is named. A scenario is played
twice, and refused when the two differ: what the real server does not do alike twice is no reference.
"""

from __future__ import annotations

import asyncio
import difflib
import sys
from pathlib import Path
from typing import Any

from tests.differential.plain import written
from tests.differential.play import play_all
from tests.differential.scenarios import SCENARIOS
from tests.differential.servers import temporal

RECORDINGS = Path(__file__).parent / "recordings"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def path_of(name: str) -> Path:
    """Where a scenario's recording is kept."""
    return RECORDINGS / f"{name}.json"


def difference(expected: str, got: str) -> str:
    """Line by line; empty when they are the same."""
    lines = difflib.unified_diff(expected.splitlines(), got.splitlines(), "temporal", "perdure", lineterm="", n=1)
    return "\n".join(lines)


async def _record(names: list[str]) -> int:
    async with temporal() as address:
        first = await play_all(address, names)
        second = await play_all(address, names)
    bad = 0
    for name in names:
        bad += _keep(name, first[name], second[name])
    return bad


def _keep(name: str, first: Any, second: Any) -> int:
    text, again = written(first), written(second)
    if text != again:
        _say(f"{name}: not the same twice\n{difference(text, again)}")
        return 1
    if "could not be played" in text:
        _say(f"{name}: {text}")
        return 1
    path_of(name).write_text(text)
    _say(f"{name}: recorded")
    return 0


if __name__ == "__main__":
    sys.exit(min(1, asyncio.run(_record(sys.argv[1:] or list(SCENARIOS)))))
