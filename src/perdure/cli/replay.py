"""`perdure replay` and `perdure workflow check-replay`: would this code get through those histories?

Exit code 1 when one would break, so that a deployment can be made to stop on it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from perdure.cli.looking import stored
from perdure.cli.options import database_option, json_option, namespace_option
from perdure.cli.output import console, plain_errors, print_json
from perdure.cli.workflow import workflow
from perdure.sdk.declare.definitions import AnyWorkflow, Registry, default_registry
from perdure.sdk.errors import DefinitionError, UnknownTypeError
from perdure.sdk.interceptors import checked_interceptors
from perdure.sdk.replay.checking import HistoryFormatError, ReplayChecker, ReplayReport, parse_history, workflows_in
from perdure.sdk.workflow.outbound import composer

workflows_option = click.option(
    "--workflows",
    "code",
    required=True,
    multiple=True,
    metavar="MODULE",
    help="The code to replay against: a module (shop.workflows) or a file (shop.py). May be given more than once.",
)


interceptors_option = click.option(
    "--interceptors",
    "around",
    multiple=True,
    metavar="MODULE:NAME",
    help="The interceptors that the engine has: one, or a list of them, by module (or file) and name "
    "(shop.tracing:INTERCEPTORS). May be given more than once; the first is the outermost.",
)


def load_code(names: tuple[str, ...], around: tuple[str, ...], namespace: str = "default") -> ReplayChecker:
    """Import modules or files. What they name counts first, then whatever else was decorated on the way."""
    sys.path.insert(0, str(Path.cwd()))
    found: list[AnyWorkflow] = []
    for name in names:
        found += workflows_in(_imported(name))
    try:
        compose = composer(checked_interceptors([one for name in around for one in _named(name)]))
        return ReplayChecker(Registry(found), namespace=namespace, otherwise=default_registry, compose=compose)
    except (DefinitionError, TypeError) as error:
        raise click.ClickException(str(error)) from error


def _named(name: str) -> Sequence[Any]:
    module, _, attribute = name.rpartition(":")
    if not module or not attribute:
        raise click.ClickException(f"--interceptors {name}: write MODULE:NAME, as in shop.tracing:INTERCEPTORS")
    thing: Any = getattr(_imported(module), attribute, None)
    if thing is None:
        raise click.ClickException(f"--interceptors {name}: {module} has no {attribute}")
    return cast(Sequence[Any], thing) if isinstance(thing, (list, tuple)) else [thing]


def _imported(name: str) -> ModuleType:
    try:
        return _load(name)
    except Exception as error:  # the user's code runs here: whatever it raises is told in one sentence
        raise click.ClickException(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _load(name: str) -> ModuleType:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name).resolve()
    known = sys.modules.get(path.stem)
    if known is not None and known.__file__ == str(path):
        return known  # it was named before: a second time its workflows would be others
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    sys.path.insert(0, str(path.parent))
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@click.command(short_help="Replay stored histories against code.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@workflows_option
@interceptors_option
@json_option
def replay(files: tuple[Path, ...], code: tuple[str, ...], around: tuple[str, ...], as_json: bool) -> None:
    """Replay histories from files: Temporal's JSON (`temporal workflow show --output json`), or binary."""
    checker = load_code(code, around)
    begin = time.perf_counter()
    for path in files:
        try:
            checker.check(parse_history(path.read_bytes()))
        except (HistoryFormatError, UnknownTypeError) as error:
            raise click.ClickException(f"{path}: {error}") from error
    checker.report.elapsed = timedelta(seconds=time.perf_counter() - begin)
    _tell(checker.report, as_json, shown=len(files), strict=True)


@workflow.command("check-replay")
@database_option
@namespace_option
@workflows_option
@interceptors_option
@click.option("--type", "workflow_type", help="Only workflows of this type.")
@click.option("--shown", default=20, show_default=True, type=click.IntRange(min=0), help="Problems told in full.")
@click.option("--strict", is_flag=True, help="Exit code 1 also when there are types whose code was not given.")
@json_option
def check_replay(
    store_url: str,
    namespace: str,
    code: tuple[str, ...],
    around: tuple[str, ...],
    workflow_type: str | None,
    shown: int,
    strict: bool,
    as_json: bool,
) -> None:
    """Replay all open executions against code that is to be deployed. The engine may run meanwhile."""
    checker = load_code(code, around, namespace)
    begin = time.perf_counter()
    with plain_errors(UnknownTypeError), stored(store_url) as store, _progress() as bar:
        total = sum(1 for _ in store.open_executions(namespace, workflow_type))
        task = bar.add_task("replaying", total=total)
        for summary in store.open_executions(namespace, workflow_type):
            if checker.knows(summary.workflow_type):
                checker.check(store.history(summary.key), summary.key.workflow_id, summary.key.run_id)
            else:
                checker.skip(summary.workflow_type)
            bar.advance(task)
    checker.report.elapsed = timedelta(seconds=time.perf_counter() - begin)
    _tell(checker.report, as_json, shown, strict)


def _progress() -> Progress:
    """On standard error, and only on a terminal: standard output is for the findings."""
    out = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def _tell(report: ReplayReport, as_json: bool, shown: int, strict: bool) -> None:
    if as_json:
        print_json(_as_json(report))
    else:
        _show(report, shown)
    judged = bool(report.checked) or not report.unknown
    if not report.ok or not judged or (strict and report.unknown):
        raise SystemExit(1)


def _as_json(report: ReplayReport) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "checked": dict(report.checked),
        "broken": dict(report.broken),
        "unknown": dict(report.unknown),
        "events": report.events,
        "elapsed_seconds": round(report.elapsed.total_seconds(), 3),
        "problems": [asdict(problem) for problem in report.problems],
    }


def _show(report: ReplayReport, shown: int) -> None:
    out = console()
    if report.checked:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("type", no_wrap=True)
        table.add_column("replayed", justify="right")
        table.add_column("would break", justify="right")
        for name in sorted(report.checked):
            table.add_row(name, f"{report.checked[name]:,}", f"{report.broken[name]:,}")
        out.print(table)
    for problem in report.problems[:shown]:
        out.print(f"\n{problem}", markup=False, soft_wrap=True)
    if len(report.problems) > shown:
        out.print(f"\n… and {report.broken.total() - shown:,} more (--shown, --json)")
    out.print(f"\n{report}", markup=False, soft_wrap=True)
    if report.unknown and not report.checked:
        out.print("Nothing was judged: --workflows names code that has none of these types.")
