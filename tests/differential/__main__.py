"""Both servers side by side: `make differential`, or `python -m tests.differential [NAME…]`."""

from __future__ import annotations

import asyncio
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.differential.plain import written
from tests.differential.play import play_all
from tests.differential.record import difference
from tests.differential.scenarios import SCENARIOS
from tests.differential.servers import perdure, temporal


async def _compare(names: list[str]) -> int:
    began = time.monotonic()
    async with temporal() as address:
        theirs = await play_all(address, names)
    between = time.monotonic()
    async with perdure() as address:
        ours = await play_all(address, names)
    ended = time.monotonic()
    table = Table("scenario", "runs", "events", "answers", "")
    differences: dict[str, str] = {}
    for name in names:
        found = difference(written(theirs[name]), written(ours[name]))
        if found:
            differences[name] = found
        histories = theirs[name]["histories"]
        events = sum(len(history) for history in histories.values())
        answers = theirs[name]["answers"]
        count = len(answers) if isinstance(answers, (list, dict)) else 1
        table.add_row(name, str(len(histories)), str(events), str(count), "[red]differs" if found else "[green]equal")
    console = Console()
    console.print(table)
    for name, found in differences.items():
        console.print(f"\n{name}", style="bold")
        console.print(found, markup=False, highlight=False)
    console.print(
        f"{len(names) - len(differences)} of {len(names)} scenarios are equal. "
        f"Temporal took {between - began:.0f} s, perdure {ended - between:.0f} s."
    )
    return len(differences)


if __name__ == "__main__":
    sys.exit(min(1, asyncio.run(_compare(sys.argv[1:] or list(SCENARIOS)))))
