"""Puts measured figures into the README: no number stands there that a kept result does not hold.

    python scripts/figures.py      # the newest benchmarks/results/*-order-workflow.json, between the two markers

`tests/docs` renders the result that the README names once more and compares.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
FIRST = "<!-- figures: made by `make figures` from benchmarks/results/, checked by tests/docs -->\n"
LAST = "<!-- end of figures -->\n"
ROW = (
    "| {engine} | {concurrency} | {workflows_per_s:,.0f} | {steps_per_s:,.0f} "
    "| {p50_ms:,.1f} | {p99_ms:,.1f} | {cpu_ms_per_workflow:.2f} |"
)
TABLE = """\
The order workflow (four trivial activities in a row) on SQLite, fsync on every commit, the engines in turn on one {cpus}-core machine
([{name}](benchmarks/results/{name}); yours: `make bench`). Read the ratios; the rest is the machine.

| engine | in flight | workflows/s | steps/s | p50 ms | p99 ms | CPU ms a workflow |
|---|--:|--:|--:|--:|--:|--:|
{rows}
"""  # noqa: E501


def render(path: Path) -> str:
    """The README's lines for one result file, markers not included."""
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows = "\n".join(ROW.format(**row) for row in result["rows"])
    return TABLE.format(cpus=result["machine"]["cpus"], name=path.name, rows=rows)


def figures_in(readme: str) -> str:
    """What stands between the markers."""
    return readme.split(FIRST)[1].split(LAST)[0]


def source_of(figures: str) -> Path | None:
    """The result file that the figures say they come from, or None when there are no figures."""
    named = re.search(r"\(benchmarks/results/([\w.-]+)\)", figures)
    return RESULTS / named[1] if named else None


def main() -> int:
    """Write the newest result into the README; 1 when there is none."""
    found = sorted(RESULTS.glob("*-order-workflow.json"))
    if not found:
        print("no result yet: run `make bench`", file=sys.stderr)
        return 1
    text = README.read_text(encoding="utf-8")
    README.write_text(
        text.replace(FIRST + figures_in(text) + LAST, FIRST + "\n" + render(found[-1]) + "\n" + LAST), encoding="utf-8"
    )
    print(f"README.md now holds {found[-1].name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
