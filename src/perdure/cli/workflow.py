"""`perdure workflow`: what executions there are, and what happened in them. These commands only read.

A store's file is read beside the engine that owns it, or when none does; a server is asked.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from google.protobuf.json_format import MessageToDict, MessageToJson
from rich import box
from rich.table import Table
from rich.text import Text
from temporalio.api.history.v1 import History, HistoryEvent

from perdure import WorkflowDescription
from perdure.api.digest import digest, duration_text, status_name
from perdure.api.times import timestamp_ns
from perdure.cli.looking import is_file, is_idle, looking, owner
from perdure.cli.options import group, json_option, namespace_option, run_option, store_option
from perdure.cli.output import console, plain_errors, print_json, say
from perdure.cli.times import in_ns
from perdure.embedded import Engine
from perdure.errors import WorkflowNotFoundError
from perdure.stores.api import StoreError
from perdure.stores.reading import StoreFile

STATUS_STYLES = {
    "RUNNING": "cyan",
    "COMPLETED": "green",
    "FAILED": "bold red",
    "TIMED_OUT": "bold red",
    "TERMINATED": "red",
    "CANCELED": "yellow",
}


@group(short_help="Executions: list, describe, history, reset, pause, signal, check-replay, and more.")
def workflow() -> None:
    """Executions in a store: list them, describe one, show its history; steer one."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One execution of a list, and its JSON. Times in nanoseconds since the epoch."""

    workflow_id: str
    run_id: str
    namespace: str
    type: str
    task_queue: str
    status: str
    started_at_ns: int
    closed_at_ns: int | None
    history_length: int


@workflow.command("list")
@store_option
@namespace_option
@click.option("--open/--closed", "open_only", default=None, help="Only those that are open, or closed.")
@click.option("--type", "workflow_type", help="Only workflows of this type.")
@click.option("--query", help="Temporal's list filter, such as \"StartTime > '2026-01-01T00:00:00Z'\".")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@json_option
def list_workflows(
    store_url: str,
    namespace: str,
    open_only: bool | None,
    workflow_type: str | None,
    query: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List executions: of a file in order of workflow id, else or with a query open ones first and the newest first."""
    if query is not None and (open_only is not None or workflow_type is not None):
        raise click.UsageError("--query says all: leave out --open, --closed and --type, or write them in the query.")
    if is_file(store_url):
        lines = _listed_in_file(store_url, namespace, open_only, workflow_type, query, limit)
    else:
        lines = _listed_by_engine(store_url, namespace, query or _query_of(open_only, workflow_type), limit)
    if as_json:
        print_json([asdict(line) for line in lines])
    else:
        _show_list(lines, limit)


def _query_of(open_only: bool | None, workflow_type: str | None) -> str:
    """The list filter that says the same as the options."""
    parts: list[str] = []
    if open_only is not None:
        parts.append("CloseTime IS NULL" if open_only else "CloseTime IS NOT NULL")
    if workflow_type is not None:
        parts.append("WorkflowType = '{}'".format(workflow_type.replace("'", "''")))
    return " AND ".join(parts)


def _listed_by_engine(store_url: str, namespace: str, query: str, limit: int) -> list[_Line]:
    with looking(store_url, namespace) as engine:
        found = engine.list(query, limit=limit)
    return [
        _Line(
            one.id, one.run_id, namespace, one.workflow_type, one.task_queue, one.status.name, in_ns(one.started_at),
            in_ns(one.closed_at), one.history_length,
        )
        for one in found
    ]  # fmt: skip


def _listed_in_file(
    store_url: str, namespace: str, open_only: bool | None, workflow_type: str | None, query: str | None, limit: int
) -> list[_Line]:
    with plain_errors(), StoreFile(store_url) as file:
        if query is not None:
            found = file.find(query, namespace, limit)
        else:
            found = file.executions(namespace, open_only=open_only, workflow_type=workflow_type, limit=limit)
    return [
        _Line(
            one.key.workflow_id, one.key.run_id, one.key.namespace, one.workflow_type, one.task_queue,
            status_name(one.status), one.started_at_ns, one.closed_at_ns, one.history_length,
        )
        for one in found
    ]  # fmt: skip


def _show_list(lines: Sequence[_Line], limit: int) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("status", "workflow id", "type", "started", "took"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    table.add_column("events", justify="right")
    for line in lines:
        table.add_row(
            _status(line.status),
            line.workflow_id,
            line.type,
            _moment(line.started_at_ns),
            _took(line.started_at_ns, line.closed_at_ns),
            str(line.history_length or ""),  # a server counts the events of closed ones alone
        )
    out = console()
    if lines:
        out.print(table)
    more = " (there may be more: --limit)" if len(lines) == limit else ""
    out.print(f"{len(lines)} execution{'' if len(lines) == 1 else 's'}{more}")


@workflow.command()
@click.argument("workflow_id")
@store_option
@namespace_option
@run_option
@json_option
def describe(workflow_id: str, store_url: str, namespace: str, run_id: str | None, as_json: bool) -> None:
    """Show what is known of one execution: how it stands, what it waits for and why it does not go on."""
    with looking(store_url, namespace) as engine:
        found = _found(engine, store_url, namespace, workflow_id, run_id)
        last_event = _last_event(engine.get(workflow_id, found.run_id).history())
    attributes = {name: _plain(value) for name, value in found.search_attributes.items()}
    line = _Line(
        found.id, found.run_id, namespace, found.workflow_type, found.task_queue, found.status.name,
        in_ns(found.started_at), in_ns(found.closed_at), found.history_length,
    )  # fmt: skip
    if as_json:
        print_json({**asdict(line), **_why(found), "search_attributes": attributes})
        return
    rows: list[tuple[str, str | Text]] = [
        ("workflow id", line.workflow_id),
        ("run id", line.run_id),
        ("type", line.type),
        ("summary", found.static_summary),
        ("details", found.static_details),
        ("task queue", line.task_queue),
        ("workers", _workers(found, store_url)),
        ("status", _status(line.status)),
        ("started", _moment(line.started_at_ns)),
        ("closed", _moment(line.closed_at_ns)),
        ("took", _took(line.started_at_ns, line.closed_at_ns)),
        ("events", str(line.history_length)),
        ("pending", _pending(found)),
        ("waits at", "\n".join(found.waits_at)),
        ("last event", last_event),
    ]
    if attributes:
        rows.append(("search attributes", ", ".join(f"{name} = {value}" for name, value in attributes.items())))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows:
        if value or name in ("closed", "took"):
            table.add_row(name, Text(value) if isinstance(value, str) else value)
    console().print(table)


def _workers(found: WorkflowDescription, store_url: str) -> str:
    if not found.status.is_open:
        return ""
    if is_idle(store_url):
        return "no engine has this store open: nothing goes on until one does"
    if found.workers is None:
        return f"not seen from outside; the store is open in {owner(store_url)}"
    return ", ".join(found.workers) or "nobody polls the task queue"


def _pending(found: WorkflowDescription) -> Text:
    """A line for each thing that the run waits for, what is wrong first and in red."""
    if not found.waits:
        return Text("nothing")
    lines = Text()
    for number, wait in enumerate(found.waits):
        advice = f" ({wait.advice})" if wait.advice else ""
        lines.append("\n" * (number > 0) + wait.text + advice, style="red" if wait.is_wrong else "")
    return lines


def _why(found: WorkflowDescription) -> dict[str, Any]:
    """The same for programs."""
    return {
        "pending": msgspec.to_builtins(found.pending_activities),
        "waits": msgspec.to_builtins(found.waits),
        "static_summary": found.static_summary,
        "static_details": found.static_details,
        "waits_at": list(found.waits_at),
        "workers": None if found.workers is None else list(found.workers),
        "workflow_task": {"attempt": found.workflow_task_attempt, "failure": found.workflow_task_failure},
    }


def _plain(value: Any) -> Any:
    """A search attribute as JSON has it: a time as RFC 3339 has it."""
    return value.isoformat() if isinstance(value, datetime) else value


def _last_event(events: Sequence[HistoryEvent]) -> str:
    line = digest(events)[-1]
    return " ".join(part for part in (str(line.event_id), line.name, line.subject, line.detail) if part)


@workflow.command()
@click.argument("workflow_id")
@store_option
@namespace_option
@run_option
@json_option
def history(workflow_id: str, store_url: str, namespace: str, run_id: str | None, as_json: bool) -> None:
    """Show the event history. The JSON is Temporal's own format of a history."""
    events = _history(store_url, namespace, workflow_id, run_id)
    if as_json:
        print_json(MessageToDict(History(events=events)))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("#", justify="right", style="dim")
    table.add_column("after", justify="right", no_wrap=True, style="dim")
    table.add_column("event", no_wrap=True)
    table.add_column("of", no_wrap=True, style="cyan")
    table.add_column("what", overflow="fold")
    began_ns = timestamp_ns(events[0].event_time)
    for line in digest(events):
        faint = "dim" if line.name.startswith("WorkflowTask") else ""
        after = duration_text(line.at_ns - began_ns)
        table.add_row(str(line.event_id), after, line.name, line.subject, Text(line.detail), style=faint)
    console().print(table)


@workflow.command()
@click.argument("workflow_id")
@store_option
@namespace_option
@run_option
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead of printing.")
def export(workflow_id: str, store_url: str, namespace: str, run_id: str | None, output: Path | None) -> None:
    """Write the event history as Temporal's JSON: for `perdure replay`, and for the replayers of Temporal's SDKs."""
    events = _history(store_url, namespace, workflow_id, run_id)
    text = MessageToJson(History(events=events)) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}.") from error
    say(f"{output}: {len(events)} events")


def _history(store_url: str, namespace: str, workflow_id: str, run_id: str | None) -> list[HistoryEvent]:
    with looking(store_url, namespace) as engine:
        found = _found(engine, store_url, namespace, workflow_id, run_id)
        return engine.get(workflow_id, found.run_id).history()


def _found(engine: Engine, store_url: str, namespace: str, workflow_id: str, run_id: str | None) -> WorkflowDescription:
    """Raises StoreError when there is no such run."""
    try:
        if run_id is not None:
            uuid.UUID(run_id)  # a server says of anything else that it is invalid, which is no help
        return engine.get(workflow_id, run_id).describe()
    except (WorkflowNotFoundError, ValueError):
        run = f" with run id {run_id}" if run_id else ""
        raise StoreError(
            f"There is no workflow {workflow_id!r}{run} in namespace {namespace!r}; "
            f"`perdure workflow list --store {store_url}` shows what there is."
        ) from None


def _status(name: str) -> Text:
    return Text(name, style=STATUS_STYLES.get(name, ""))


def _moment(ns: int | None) -> str:
    return "" if ns is None else datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _took(started_at_ns: int, closed_at_ns: int | None) -> str:
    return "" if closed_at_ns is None else duration_text(closed_at_ns - started_at_ns)
