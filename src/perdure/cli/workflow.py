"""`perdure workflow`: what executions a store holds, and what happened in them. These commands only read.

The engine need not be running; when it is, its file is read beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from google.protobuf.json_format import MessageToDict, MessageToJson
from rich import box
from rich.table import Table
from rich.text import Text
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import History, HistoryEvent

from perdure.api.digest import digest, duration_text, status_name
from perdure.api.times import timestamp_ns
from perdure.cli.output import console, plain_errors, print_json
from perdure.core.execution import Execution
from perdure.stores.api import StoreError, Summary
from perdure.stores.reading import StoreFile, summary_of

STATUS_STYLES = {
    "RUNNING": "cyan",
    "COMPLETED": "green",
    "FAILED": "bold red",
    "TIMED_OUT": "bold red",
    "TERMINATED": "red",
    "CANCELED": "yellow",
}

store_option = click.option(
    "--store", "store_url", required=True, metavar="URL", help="The store, such as sqlite:///orders.db."
)
namespace_option = click.option("--namespace", default="default", show_default=True, help="Where the workflows live.")
run_option = click.option("--run-id", help="A run other than the newest of its workflow id.")
json_option = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")


@click.group(short_help="Executions: list, describe, history, reset, pause, signal, check-replay, and more.")
def workflow() -> None:
    """Executions in a store: list them, describe one, show its history; steer one."""


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
    """List executions, in order of workflow id; with a query open ones first, the newest first."""
    if query is not None and (open_only is not None or workflow_type is not None):
        raise click.UsageError("--query says all: leave out --open, --closed and --type, or write them in the query.")
    with plain_errors(), StoreFile(store_url) as file:
        if query is not None:
            summaries = file.find(query, namespace, limit)
        else:
            summaries = file.executions(namespace, open_only=open_only, workflow_type=workflow_type, limit=limit)
    if as_json:
        print_json([_summary_json(summary) for summary in summaries])
    else:
        _show_list(summaries, limit)


def _show_list(summaries: Sequence[Summary], limit: int) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("status", "workflow id", "type", "started", "took"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    table.add_column("events", justify="right")
    for summary in summaries:
        table.add_row(
            _status(summary.status),
            summary.key.workflow_id,
            summary.workflow_type,
            _moment(summary.started_at_ns),
            _took(summary.started_at_ns, summary.closed_at_ns),
            str(summary.history_length),
        )
    out = console()
    if summaries:
        out.print(table)
    more = " (there may be more: --limit)" if len(summaries) == limit else ""
    out.print(f"{len(summaries)} execution{'' if len(summaries) == 1 else 's'}{more}")


@workflow.command()
@click.argument("workflow_id")
@store_option
@namespace_option
@run_option
@json_option
def describe(workflow_id: str, store_url: str, namespace: str, run_id: str | None, as_json: bool) -> None:
    """Show what is known of one execution."""
    with plain_errors():
        execution, events = _read(store_url, namespace, workflow_id, run_id)
    summary = summary_of(execution)
    if as_json:
        attributes = _search_attributes(execution)
        print_json({**_summary_json(summary), "pending": _pending(events), "search_attributes": attributes})
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    rows: list[tuple[str, str | Text]] = [
        ("workflow id", summary.key.workflow_id),
        ("run id", summary.key.run_id),
        ("type", summary.workflow_type),
        ("task queue", summary.task_queue),
        ("status", _status(summary.status)),
        ("started", _moment(summary.started_at_ns)),
        ("closed", _moment(summary.closed_at_ns)),
        ("took", _took(summary.started_at_ns, summary.closed_at_ns)),
        ("events", str(summary.history_length)),
        ("pending", ", ".join(_pending(events)) or "nothing"),
        ("last event", _last_event(events)),
    ]
    attributes = _search_attributes(execution)
    if attributes:
        rows.append(("search attributes", ", ".join(f"{name} = {value}" for name, value in attributes.items())))
    for name, value in rows:
        table.add_row(name, value)
    console().print(table)


def _search_attributes(execution: Execution) -> dict[str, Any]:
    """By name, as the JSON that they are: times as RFC 3339 has them."""
    attributes = execution.search_attributes
    return {name: json.loads(Payload.FromString(attributes[name]).data) for name in sorted(attributes)}


def _last_event(events: Sequence[HistoryEvent]) -> str:
    line = digest(events)[-1]
    return " ".join(part for part in (str(line.event_id), line.name, line.subject, line.detail) if part)


def _pending(events: Sequence[HistoryEvent]) -> list[str]:
    """Activities without an outcome and timers that have neither fired nor been cancelled."""
    lines = {line.event_id: line for line in digest(events)}
    owed: dict[int, str] = {}
    for event in events:
        line = lines[event.event_id]
        if line.name in ("ActivityTaskScheduled", "TimerStarted"):
            owed[event.event_id] = line.subject
        elif line.name in ("TimerFired", "TimerCanceled"):
            owed.pop(_attribute(event, "started_event_id"), None)
        elif line.name.startswith("ActivityTask") and line.name not in (
            "ActivityTaskStarted",
            "ActivityTaskCancelRequested",
        ):
            owed.pop(_attribute(event, "scheduled_event_id"), None)
        elif line.name.startswith("WorkflowExecution") and not line.name.endswith(("Started", "Requested", "Signaled")):
            owed.clear()
    return list(owed.values())


def _attribute(event: HistoryEvent, name: str) -> int:
    return getattr(getattr(event, event.WhichOneof("attributes") or ""), name)


@workflow.command()
@click.argument("workflow_id")
@store_option
@namespace_option
@run_option
@json_option
def history(workflow_id: str, store_url: str, namespace: str, run_id: str | None, as_json: bool) -> None:
    """Show the event history. The JSON is Temporal's own format of a history."""
    with plain_errors():
        _, events = _read(store_url, namespace, workflow_id, run_id)
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
    with plain_errors():
        _, events = _read(store_url, namespace, workflow_id, run_id)
    text = MessageToJson(History(events=events)) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}.") from error
    console().print(f"{output}: {len(events)} events", markup=False)


def _read(store_url: str, namespace: str, workflow_id: str, run_id: str | None) -> tuple[Execution, list[HistoryEvent]]:
    with StoreFile(store_url) as file:
        execution = file.load(workflow_id, run_id, namespace)
        if execution is None:
            run = f" with run id {run_id}" if run_id else ""
            raise StoreError(
                f"There is no workflow {workflow_id!r}{run} in namespace {namespace!r}; "
                f"`perdure workflow list --store {store_url}` shows what there is."
            )
        return execution, file.history(execution.key)


def _summary_json(summary: Summary) -> dict[str, Any]:
    return {
        "workflow_id": summary.key.workflow_id,
        "run_id": summary.key.run_id,
        "namespace": summary.key.namespace,
        "type": summary.workflow_type,
        "task_queue": summary.task_queue,
        "status": status_name(summary.status),
        "started_at_ns": summary.started_at_ns,
        "closed_at_ns": summary.closed_at_ns,
        "history_length": summary.history_length,
    }


def _status(status: int) -> Text:
    name = status_name(status)
    return Text(name, style=STATUS_STYLES.get(name, ""))


def _moment(ns: int | None) -> str:
    return "" if ns is None else datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _took(started_at_ns: int, closed_at_ns: int | None) -> str:
    return "" if closed_at_ns is None else duration_text(closed_at_ns - started_at_ns)
