"""`python -m benchmarks.neighbours`: eight honest clients beside each attack in turn; exit code 1 when they notice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks import rows
from benchmarks.neighbours.attacks import ATTACKS
from benchmarks.server_load import rss_mb
from benchmarks.server_order import BIN, ROOT, await_port, free_port

HEALTH_P99_MS_MAX = 50.0
RSS_MB_MAX = 400.0
READY_S = 120
_STALL = re.compile(r'^perdure_loop_lag_seconds_max\{what="(.*)"\} (\S+)$', re.MULTILINE)


@dataclass(slots=True, frozen=True)
class Outcome:
    """What the honest and the server met beside one attack. Times in milliseconds, memory in megabytes."""

    attack: str
    calls: int
    failures: int
    first_failures: list[str]
    runs: int
    p50_ms: float
    p99_ms: float
    list_max_ms: float
    health_p99_ms: float
    health_max_ms: float
    stall_max_ms: float
    stalled_by: str
    rss_mb: float
    log_lines: int

    @property
    def faults(self) -> list[str]:
        """What the neighbours would complain of."""
        found: list[str] = []
        if self.failures:
            found.append(f"{self.failures} calls failed, such as {self.first_failures[0]}")
        if not self.runs:
            found.append("nothing was done")
        if self.health_p99_ms > HEALTH_P99_MS_MAX:
            found.append(f"health p99 {self.health_p99_ms:.0f} ms > {HEALTH_P99_MS_MAX:.0f} ms")
        if self.rss_mb > RSS_MB_MAX:
            found.append(f"{self.rss_mb:.0f} MB > {RSS_MB_MAX:.0f} MB")
        return found


@contextmanager
def served() -> Generator[tuple[str, str, int, Path], None, None]:
    """A server on an empty directory: its address, that of its metrics, its process id, its log."""
    with tempfile.TemporaryDirectory(prefix="perdure-neighbours-") as directory:
        port, http, log = free_port(), free_port(), Path(directory, "log")
        arguments = [
            *(str(BIN / "perdure"), "server", "--store", f"sqlite:///{directory}/perdure.db"),
            *("--address", f"127.0.0.1:{port}", "--http-address", f"127.0.0.1:{http}"),
        ]
        with log.open("wb") as lines:
            process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=lines)
        try:
            await_port(port, process)
            yield f"127.0.0.1:{port}", f"http://127.0.0.1:{http}/metrics", process.pid, log
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def module(name: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process of this benchmark."""
    return subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.neighbours.{name}", *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def play(attack: str, seconds: float) -> Outcome:
    """One attack for so long, with everybody beside it."""
    with served() as (target, metrics, pid, log):
        with module("attacks", attack, target) as attacker:
            assert attacker.stdin is not None and attacker.stdout is not None
            try:
                if attacker.stdout.readline().strip() != "ready":
                    raise RuntimeError(f"the attack {attack!r} could not be prepared")
                honest = [module("honest", target, role, str(seconds)) for role in ("clients", "health")]
                attacker.stdin.write("go\n")
                attacker.stdin.flush()
                clients, health = (
                    json.loads(process.communicate(timeout=seconds + READY_S)[0].splitlines()[-1]) for process in honest
                )
                with urllib.request.urlopen(metrics, timeout=30) as answer:
                    stalls = {what: float(value) for what, value in _STALL.findall(answer.read().decode())}
            finally:
                attacker.kill()
        by = max(stalls, key=lambda what: stalls[what], default="")
        return Outcome(
            attack=attack,
            calls=clients["calls"],
            failures=clients["failures"] + health["failures"],
            first_failures=[*clients["first_failures"], *health["first_failures"]],
            runs=clients["runs"],
            p50_ms=clients["p50_ms"],
            p99_ms=clients["p99_ms"],
            list_max_ms=clients["list_max_ms"],
            health_p99_ms=health["health_p99_ms"],
            health_max_ms=health["health_max_ms"],
            stall_max_ms=round(stalls.get(by, 0.0) * 1e3),
            stalled_by=by,
            rss_mb=round(rss_mb(pid)),
            log_lines=len(log.read_text(errors="replace").splitlines()),
        )


def as_table(outcomes: Sequence[Outcome]) -> Table:
    """A line for each attack."""
    table = Table(title="Eight honest clients beside each attack")
    for name in (
        "attack",
        "calls",
        "failed",
        "p50 ms",
        "p99 ms",
        "health p99",
        "max",
        "stall ms",
        "by",
        "RSS MB",
        "log",
    ):
        table.add_column(name, justify="left" if name in ("attack", "by") else "right")
    for one in outcomes:
        table.add_row(
            one.attack, f"{one.calls:,}", str(one.failures), f"{one.p50_ms:.0f}", f"{one.p99_ms:.0f}",
            f"{one.health_p99_ms:.0f}", f"{one.health_max_ms:.0f}", f"{one.stall_max_ms:.0f}", one.stalled_by[:40],
            f"{one.rss_mb:.0f}", str(one.log_lines), style="red" if one.faults else None,
        )  # fmt: skip
    return table


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="Of each attack.")
@click.option("--only", multiple=True, help="Attacks whose names begin so; repeatable.")
@click.option("--keep/--no-keep", default=True, show_default=True, help="Write the result into benchmarks/results.")
def main(seconds: float, only: tuple[str, ...], keep: bool) -> None:
    """Play each attack beside eight honest clients, and fail when they notice."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    measured_on = rows.machine()
    outcomes: list[Outcome] = []
    for attack in ATTACKS:
        if not only or attack.startswith(only):
            outcomes.append(play(attack, seconds))
            console.print(f"{attack}: {', '.join(outcomes[-1].faults) or 'nobody noticed'}", highlight=False)
    console.print(as_table(outcomes))
    if keep and not only:
        console.print(f"kept as {rows.write('neighbours', outcomes, measured_on, seconds=seconds)}", highlight=False)
    if any(one.faults for one in outcomes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
