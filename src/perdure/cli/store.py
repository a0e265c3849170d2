"""`perdure store`: the file itself."""

from __future__ import annotations

from pathlib import Path

import click

from perdure.cli.options import file_option, group, json_option, namespace_option
from perdure.cli.output import plain_errors, print_json, say
from perdure.stores.api import StoreError
from perdure.stores.reading import StoreFile, differences, fold


@group(short_help="A store's file: check it, back it up.")
def store() -> None:
    """A store's file: check it, back it up. An engine may be running on it."""


@store.command()
@file_option
@namespace_option
@json_option
def check(store_url: str, namespace: str, as_json: bool) -> None:
    """Fold every history again and compare it with the stored state and the index. Exit code 1 when one differs."""
    problems: list[str] = []
    events_folded = 0
    with plain_errors(), StoreFile(store_url) as file:
        summaries = file.executions(namespace)
        for summary in summaries:
            try:
                stored = file.load(summary.key.workflow_id, summary.key.run_id, namespace)
            except StoreError as error:
                problems.append(f"{summary.key.workflow_id} (run {summary.key.run_id}): {error}")
                continue
            events = file.history(summary.key)
            events_folded += len(events)
            if stored is not None and stored.next_event_id <= len(events):
                continue  # it went on between the two reads
            wrong = ["state"] if stored is None else differences(stored, fold(summary.key, events))
            if file.index_differs(summary.key):
                wrong.append("index")
            if wrong:
                problems.append(f"{summary.key.workflow_id} (run {summary.key.run_id}): {', '.join(wrong)}")
    if as_json:
        print_json({"executions": len(summaries), "events": events_folded, "problems": problems})
    else:
        for problem in problems:
            say(f"differs from its history: {problem}")
        say(f"{len(summaries)} executions, {events_folded} events folded, {len(problems)} differ")
    if problems:
        raise SystemExit(1)


@store.command()
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@file_option
def backup(target: Path, store_url: str) -> None:
    """Copy the store to the new file TARGET, whole and consistent."""
    with plain_errors(), StoreFile(store_url) as file:
        file.backup(target)
    say(f"{target}: {target.stat().st_size:,} bytes")
