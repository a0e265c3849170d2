"""Puts measured figures into the documents: no number stands there that a kept result does not hold.

    python scripts/figures.py      # the newest benchmarks/results/*.json of each kind, between two markers

`tests/docs` renders the result that a document names once more and compares.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FIRST = "<!-- figures: made by `make figures` from benchmarks/results/, checked by tests/docs -->\n"
LAST = "<!-- end of figures -->\n"


@dataclass(frozen=True)
class Page:
    """A document that shows the newest result of one kind."""

    document: Path
    kind: str
    """results/<date>-<kind>.json"""
    row: str
    table: str

    def render(self, path: Path) -> str:
        """The document's lines for one result file, markers not included."""
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows = "\n".join(self.row.format(**row) for row in result["rows"])
        machine, verdict = result["machine"], "\n".join(f"* {line}" for line in result.get("verdict", ()))
        load = machine.get("load_average_at_the_end", machine.get("load_average"))
        return self.table.format(cpus=machine["cpus"], name=path.name, rows=rows, load=load, verdict=verdict)

    def shown(self) -> str:
        """What stands between the markers."""
        return self.document.read_text(encoding="utf-8").split(FIRST)[1].split(LAST)[0]

    def write(self) -> bool:
        """Put the newest result in; False when there is none."""
        found = sorted(RESULTS.glob(f"*-{self.kind}.json"))
        if not found:
            return False
        text = self.document.read_text(encoding="utf-8")
        before, after = FIRST + self.shown() + LAST, FIRST + "\n" + self.render(found[-1]) + "\n" + LAST
        self.document.write_text(text.replace(before, after), encoding="utf-8")
        print(f"{self.document.relative_to(ROOT)} now holds {found[-1].name}")
        return True


PAGES = [
    Page(
        ROOT / "README.md",
        "order-workflow",
        "| {engine} | {concurrency} | {workflows_per_s:,.0f} | {steps_per_s:,.0f} "
        "| {p50_ms:,.1f} | {p99_ms:,.1f} | {cpu_ms_per_workflow:.2f} |",
        """\
The order workflow (four trivial activities in a row) on SQLite, fsync on every commit, the engines in turn on one {cpus}-core machine
([{name}](benchmarks/results/{name}); yours: `make bench`). Read the ratios; the rest is the machine.

| engine | in flight | workflows/s | steps/s | p50 ms | p99 ms | CPU ms a workflow |
|---|--:|--:|--:|--:|--:|--:|
{rows}
""",  # noqa: E501
    ),
    Page(
        ROOT / "docs" / "actors.md",
        "signals",
        "| {what} | {signals_per_s:,.0f} | {acknowledged_p50_ms:.1f} | {acknowledged_p99_ms:.1f} "
        "| {handled_p50_ms:.1f} | {handled_p99_ms:.1f} | {cpu_ms_per_signal:.2f} |",
        """\
Signals on SQLite, fsync on every commit, on one {cpus}-core machine ([{name}](../benchmarks/results/{name}); yours:
`python -m benchmarks.signals`). *Answered*: the signal is durable. *Handled*: the workflow's handler runs.

| | signals/s | answered p50 ms | p99 ms | handled p50 ms | p99 ms | CPU ms a signal |
|---|--:|--:|--:|--:|--:|--:|
{rows}
""",
    ),
    Page(
        ROOT / "docs" / "server.md",
        "server-order",
        "| {engine} | {concurrency} | {workflows_per_s:,.1f} | {p50_ms:,.1f} | {p99_ms:,.1f} "
        "| {cpu_ms_per_workflow:.2f} | {rss_mb:.0f} |",
        """\
Medians of one run on a {cpus}-core machine ([{name}](../benchmarks/results/{name})). Read the ratios; the rest is the machine.

| server | in flight | workflows/s | p50 ms | p99 ms | server CPU ms a workflow | RSS MB |
|---|--:|--:|--:|--:|--:|--:|
{rows}
""",  # noqa: E501
    ),
    Page(
        ROOT / "docs" / "postgresql.md",
        "databases",
        "| {engine} | {concurrency} | {workflows_per_s:,.0f} | {p50_ms:,.0f} | {p99_ms:,.0f} "
        "| {cpu_ms_per_workflow:.2f} | {server_cpu_ms_per_workflow:.2f} |",
        """\
The order workflow (four trivial activities in a row), every commit waited for, the engines in turn on one server of one {cpus}-core machine that had
{load} other things to do at a time ([{name}](../benchmarks/results/{name}); yours: `make bench ARGS="--store postgresql"`). Under such a load the rates say
little, for whoever has more processes is given more of the machine; what each workflow costs is in the last columns. With the official SDK the
CPU is `perdure server`'s, and the database's is not measured.

| engine | in flight | workflows/s | p50 ms | p99 ms | CPU ms a workflow | the database's CPU ms |
|---|--:|--:|--:|--:|--:|--:|
{rows}

{verdict}
""",  # noqa: E501
    ),
    Page(
        ROOT / "docs" / "simulation.md",
        "simulation",
        "| {nodes} | {programs:,} | {before:,} | {after:,} | {drain:,} | {stall:,} | {twice:,} "
        "| {crashes:,} | {failures} |",
        """\
Every commit of every program in every way ([{name}](../benchmarks/results/{name})).

| nodes | programs | `before` | `after` | `drain` | `stall` | twice | in all | failures |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}
""",
    ),
    Page(
        ROOT / "docs" / "fleets.md",
        "fleet-kills",
        "| {kind} | {seconds:,} | {killed_nodes} | {killed_workers} | {killed_databases} | {acknowledged:,} "
        "| {ended:,} | {failures} | {longest_stall_s:.1f} | {slowest_order_s:.1f} |",
        """\
Three nodes, four workers, one database server, all of them on one {cpus}-core machine that had other work besides
([{name}](../benchmarks/results/{name}); yours: `make fleet-kills`).

| store | seconds | nodes killed | workers killed | databases killed | starts acknowledged | ended | wrong | longest time without an end, s | slowest order, s |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}
""",  # noqa: E501
    ),
    Page(
        ROOT / "docs" / "fail-overs.md",
        "fleet-faults",
        "| {kind} | {what} | {seconds:,} | {acknowledged:,} | {ended:,} | {failures} | {longest_stall_s:.1f} "
        "| {longest_absence_s:.1f} | {longest_stall_of_ours_s:.1f} | {slowest_order_s:.1f} |",
        """\
Three nodes, four workers and all of the database on one {cpus}-core machine that had much other work besides
([{name}](../benchmarks/results/{name}); yours: `make fleet-kills ARGS="--kind patroni"`, `make fleet-kills ARGS=--cuts`).

| store | what happened | seconds | starts acknowledged | ended | wrong | longest time without an end, s | without a database that takes commits, s | without an end while there was one, s | slowest order, s |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}
""",  # noqa: E501
    ),
]


def source_of(figures: str) -> Path | None:
    """The result file that the figures say they come from, or None when there are no figures."""
    named = re.search(r"\((?:\.\./)?benchmarks/results/([\w.-]+)\)", figures)
    return RESULTS / named[1] if named else None


def main() -> int:
    """Write the newest results into the documents; 1 when one has none."""
    missing = [page.kind for page in PAGES if not page.write()]
    for kind in missing:
        print(f"no result of {kind} yet: run `make bench`", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
