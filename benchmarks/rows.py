"""One line of a benchmark's result, and the file that keeps the lines."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(slots=True, frozen=True)
class Row:
    """What one contender did under one load.

    `cpu_ms_per_workflow` is user and system time of the whole process (load generator included)
    over the measured part, `server_cpu_ms_per_workflow` that of the database server, where there is one; `rss_mb` is
    the most the process ever held.
    """

    engine: str
    count: int
    concurrency: int
    workflows_per_s: float
    steps_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_workflow: float
    rss_mb: float
    note: str = ""
    server_cpu_ms_per_workflow: float = 0.0


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-th quantile of an ascending sequence, by nearest rank."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def median_row(rows: Sequence[Row]) -> Row:
    """The median of every figure, over rounds of the same contender under the same load."""
    first = rows[0]
    figures = (
        "workflows_per_s", "steps_per_s", "p50_ms", "p99_ms", "cpu_ms_per_workflow", "rss_mb",
        "server_cpu_ms_per_workflow",
    )  # fmt: skip
    medians = {name: round(statistics.median(getattr(row, name) for row in rows), 3) for name in figures}
    return Row(engine=first.engine, count=first.count, concurrency=first.concurrency, note=first.note, **medians)


def machine() -> dict[str, object]:
    """What the figures were measured on, and how busy it was with other things."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def write(what: str, rows: Iterable[Any], measured_on: dict[str, object], **more: object) -> Path:
    """Keep a result as `results/<date>-<what>.json` and return the path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y-%m-%d')}-{what}.json"
    body = {"machine": measured_on, "rows": [asdict(row) for row in rows], **more}
    path.write_text(json.dumps(body, indent=1) + "\n")
    return path
