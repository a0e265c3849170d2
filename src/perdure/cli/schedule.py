"""`perdure schedule`: what starts by the clock: list, describe, pause, unpause, trigger, backfill, delete.

Schedules are made in code (`engine.schedules.create`), where the workflow and its arguments are known. `list` and
`describe` only look, also beside the application that has the store open; the others change what they name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import click
import msgspec
from rich import box
from rich.table import Table

from perdure.cli.looking import is_idle, looking, opened
from perdure.cli.options import group, json_option, namespace_option, store_option
from perdure.cli.output import console, print_json, say
from perdure.cli.times import in_ns
from perdure.sdk.client import Overlap, ScheduleDescription, ScheduledRun, ScheduleSummary

F = TypeVar("F", bound=Callable[..., Any])

_overlap_option = click.option(
    "--overlap", type=click.Choice([policy.name for policy in Overlap], case_sensitive=False), help="For this once."
)


def _where(command: F) -> F:
    return store_option(namespace_option(command))


@group(short_help="Schedules: list, describe, pause, unpause, trigger, backfill, delete.")
def schedule() -> None:
    """Workflows that start by the clock."""


@schedule.command("list")
@_where
@click.option("--query", default="", help="Such as TemporalSchedulePaused = true")
@json_option
def list_schedules(store_url: str, namespace: str, query: str, as_json: bool) -> None:
    """List schedules, in order of their ids."""
    with looking(store_url, namespace) as engine:
        found = engine.schedules.list(query)
    if as_json:
        print_json([_plain(one) for one in found])
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("schedule id", "starts", "state", "next", "last"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for one in found:
        last = _moment(one.recent[-1].started_at) if one.recent else "-"
        table.add_row(one.id, one.workflow_type, _state(one), _next(one), last)
    out = console()
    if found:
        out.print(table)
    out.print(f"{len(found)} schedule{'' if len(found) == 1 else 's'}")
    _tell_if_idle(store_url)


@schedule.command()
@click.argument("schedule_id")
@_where
@json_option
def describe(schedule_id: str, store_url: str, namespace: str, as_json: bool) -> None:
    """Show one schedule: what it does next, and what it did."""
    with looking(store_url, namespace) as engine:
        found = engine.schedules.describe(schedule_id)
    if as_json:
        print_json(_plain(found))
        return
    out = console()
    out.print(f"{found.id}: starts {found.workflow_type}, {_state(found)}")
    if found.remaining_actions is not None:
        out.print(f"acts {found.remaining_actions} times more")
    out.print(f"{found.action_count} started, {found.skipped} skipped, {found.missed} missed, {found.waiting} waiting")
    for at in found.next_times:
        out.print(f"next  {_moment(at)}")
    for run in found.recent:
        out.print(_line(run))
    _tell_if_idle(store_url)


@schedule.command()
@click.argument("schedule_id")
@_where
@click.option("--note", default="", help="Why; it is shown.")
def pause(schedule_id: str, store_url: str, namespace: str, note: str) -> None:
    """Let a schedule act no more by itself."""
    with opened(store_url, namespace) as engine:
        engine.schedules.pause(schedule_id, note)
    say(f"{schedule_id} is paused")


@schedule.command()
@click.argument("schedule_id")
@_where
@click.option("--note", default="", help="Why; it is shown.")
def unpause(schedule_id: str, store_url: str, namespace: str, note: str) -> None:
    """Let a schedule act again, from now on."""
    with opened(store_url, namespace) as engine:
        engine.schedules.unpause(schedule_id, note)
    say(f"{schedule_id} goes on")


@schedule.command()
@click.argument("schedule_id")
@_where
@_overlap_option
def trigger(schedule_id: str, store_url: str, namespace: str, overlap: str | None) -> None:
    """Let a schedule act now."""
    with opened(store_url, namespace) as engine:
        engine.schedules.trigger(schedule_id, overlap=overlap)
    say(f"{schedule_id} acts")


@schedule.command()
@click.argument("schedule_id")
@_where
@click.option("--from", "start", required=True, metavar="TIME", help="2026-03-01 or 2026-03-01T06:00:00+01:00")
@click.option("--to", "end", required=True, metavar="TIME", help="Both are included; without a zone: UTC.")
@_overlap_option
def backfill(schedule_id: str, store_url: str, namespace: str, start: str, end: str, overlap: str | None) -> None:
    """Act for every time of the past that lies between two; one after another, unless --overlap says otherwise."""
    with opened(store_url, namespace) as engine:
        engine.schedules.backfill(schedule_id, _time(start), _time(end), overlap=overlap or Overlap.BUFFER_ALL)
    say(f"{schedule_id} makes up for {start} to {end}")


@schedule.command()
@click.argument("schedule_id")
@_where
def delete(schedule_id: str, store_url: str, namespace: str) -> None:
    """Forget a schedule; what it started goes on."""
    with opened(store_url, namespace) as engine:
        engine.schedules.delete(schedule_id)
    say(f"{schedule_id} is deleted")


def _tell_if_idle(store_url: str) -> None:
    if is_idle(store_url):
        say("No engine has this store open: nothing starts until one does; then what was missed is made up for.")


def _time(text: str) -> datetime:
    """Raises BadParameter when it is no time."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time; write 2026-03-01T06:00:00+01:00") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _state(one: ScheduleSummary | ScheduleDescription) -> str:
    note = f" ({one.note})" if one.note else ""
    return f"{'paused' if one.paused else 'active'}{note}"


def _next(one: ScheduleSummary) -> str:
    return _moment(one.next_times[0]) if one.next_times and not one.paused else "-"


def _line(run: ScheduledRun) -> str:
    return f"{run.status.name.lower():11} {_moment(run.started_at)}  {run.workflow_id}"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%SZ")


def _plain(value: Any) -> Any:
    """For JSON, where times are nanoseconds since the epoch and say so in their names."""
    return _in_ns(msgspec.to_builtins(value, builtin_types=(datetime,), enc_hook=str))


def _in_ns(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_ns(each) for each in cast("list[Any]", value)]
    if isinstance(value, datetime):
        return in_ns(value)
    if not isinstance(value, dict):
        return value
    told: dict[str, Any] = {}
    for name, each in cast("dict[str, Any]", value).items():
        is_time = isinstance(each, datetime) or name == "next_times"
        told[f"{name}_ns" if is_time else name] = _in_ns(each)
    return told
