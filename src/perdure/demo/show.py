"""The whole demo, in three acts, and its last word: the exit code says whether everything was right."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from perdure.demo.act_one import act_one
from perdure.demo.act_three import Storms, act_three, median_ns
from perdure.demo.act_two import Survived, act_two
from perdure.demo.audit import Report
from perdure.demo.engine_store import EngineStore
from perdure.demo.orders import ORDER_1001, ORDERS_CSV, Order, generate, money, read_orders
from perdure.demo.screen import Screen

RESUME_WITHIN_NS = 1_000_000_000
"""What a restart should take to its first step. Shown, not judged: on a busy machine it is the machine's figure."""
SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Options:
    """What `perdure demo` was asked for."""

    seed: int = 1001
    orders: int = 1000
    kills: int = 20
    keep: Path | None = None
    """Where the files are to stay; None: a temporary directory that is removed."""
    store: str = ""
    """The URL of the engine's store; empty: a file for each act."""


def run_demo(console: Console, options: Options) -> int:
    """Play all three acts. Returns 0 when each came out as it must, 1 otherwise."""
    screen = Screen(console)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        return _play(screen, options, options.keep)
    with tempfile.TemporaryDirectory(prefix="perdure-demo-") as directory:
        return _play(screen, options, Path(directory))


def _play(screen: Screen, options: Options, directory: Path) -> int:
    began = time.monotonic()
    stages = [directory / name for name in ("act1", "act2", "act3")]
    for stage in stages:
        stage.mkdir()
    without = act_one(screen, stages[0])
    two, three = (_store(options, stage) for stage in stages[1:])
    survived = act_two(screen, stages[1], two)
    storms = act_three(screen, stages[2], three, the_orders(options), options.kills, options.seed)
    _show_audit(screen, storms)
    wrong = _what_is_wrong(without, survived, storms, options)
    screen.verdict(
        not wrong,
        "Everything adds up." if not wrong else "Something does not add up:",
        *wrong,
        f"ORDER #1001: {money(without)} without perdure, {money(survived.total_cents)} with it.",
        f"{options.orders:,} orders under {storms.kills} SIGKILLs: {len(storms.report.problems)} findings.",
        f"Seed {options.seed}; the whole demo took {time.monotonic() - began:.0f} s.",
    )
    return 1 if wrong else 0


def _store(options: Options, stage: Path) -> EngineStore:
    """Of an act. In a store that others may use its workflows have ids that nobody else has."""
    if not options.store:
        return EngineStore(f"sqlite:///{stage / 'orders.db'}")
    return EngineStore(options.store, f"demo-{secrets.token_hex(4)}-{stage.name}-")


def the_orders(options: Options) -> Sequence[Order]:
    """The first so many of orders.csv; more than it holds come from the script that wrote it."""
    shipped = read_orders(ORDERS_CSV)
    return shipped[: options.orders] if options.orders <= len(shipped) else list(generate(options.orders))


def _show_audit(screen: Screen, storms: Storms) -> None:
    report = storms.report
    screen.table("How the orders ended", [(name.replace("_", " "), f"{n:,}") for name, n in _by_number(report)])
    screen.checks("The audit, against the three ledgers", report.checks)
    for problem in report.problems[:SHOWN_PROBLEMS]:
        screen.say(problem, "bold red")
    if len(report.problems) > SHOWN_PROBLEMS:
        screen.say(f"… and {len(report.problems) - SHOWN_PROBLEMS} more", "bold red")
    restarts = storms.resumed_after_ns
    screen.table(
        "The storm",
        [
            ("SIGKILLs of the engine's process", str(storms.kills)),
            ("restart → first step, median", _seconds(median_ns(restarts))),
            ("restart → first step, slowest", _slowest(max(restarts, default=0))),
            ("calls that came again, answered from their key", f"{storms.repeated_calls:,}"),
            ("at the gateway in the end", money(report.turnover_cents)),
            ("time, kills and restarts included", _seconds(storms.took_ns)),
        ],
    )


def _by_number(report: Report) -> list[tuple[str, int]]:
    return sorted(report.outcomes.items(), key=lambda item: -item[1])


def _what_is_wrong(without: int, survived: Survived, storms: Storms, options: Options) -> list[str]:
    owed = ORDER_1001.amount_cents
    tests = [
        (without == 2 * owed, f"the plain function charged {money(without)}, not {money(2 * owed)}"),
        (survived.total_cents == owed, f"on perdure {money(survived.total_cents)} were charged, not {money(owed)}"),
        (not storms.report.problems, f"the audit has {len(storms.report.problems)} findings"),
        (storms.kills == options.kills, f"{storms.kills} kills, not {options.kills}"),
    ]
    return [complaint for right, complaint in tests if not right]


def _slowest(ns: int) -> str:
    late = " (is the machine busy?)" if ns >= RESUME_WITHIN_NS else ""
    return _seconds(ns) + late


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.2f} s"
