"""`perdure store`: the file itself."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from perdure.cli.options import file_option, group, json_option, namespace_option
from perdure.cli.output import plain_errors, print_json, say
from perdure.engine.records.kinds import KINDS
from perdure.stores import copying
from perdure.stores.api import Store, StoreError
from perdure.stores.copying import Copied
from perdure.stores.open import open_store
from perdure.stores.reading import StoreFile, differences, fold, path_of
from perdure.stores.sqlite import restoring
from perdure.stores.summary import Summary


@group(short_help="A store's file: check it, back it up.")
def store() -> None:
    """A store's file: check it, back it up. An engine may be running on it."""


@store.command()
@file_option
@namespace_option
@json_option
def check(store_url: str, namespace: str, as_json: bool) -> None:
    """Read everything: checksums, tables, pages; fold every history again and compare it with the stored state and the
    index. Exit code 1 when something is damaged or differs."""
    with plain_errors(), StoreFile(store_url) as file:
        damage = file.check()
        summaries = file.executions(namespace)
        problems: list[str] = []
        events_folded = 0
        for summary in summaries:
            wrong, events = _differences(file, summary)
            events_folded += events
            if wrong:
                problems.append(f"{summary.key.workflow_id} (run {summary.key.run_id}): {', '.join(wrong)}")
    if as_json:
        totals = {"executions": len(summaries), "events": events_folded}
        print_json({**totals, "problems": problems, "damage": damage})
    else:
        for problem in damage:
            say(f"damaged: {problem}")
        for problem in problems:
            say(f"differs from its history: {problem}")
        told = f"{len(summaries)} executions, {events_folded} events folded, {len(problems)} differ"
        say(f"{told}, {len(damage)} damaged" if damage else told)
    if problems or damage:
        raise SystemExit(1)


def _differences(file: StoreFile, summary: Summary) -> tuple[list[str], int]:
    """What of an execution is not as its history says, and how many events that has."""
    key = summary.key
    try:
        stored = file.load(key.workflow_id, key.run_id, key.namespace)
        events = file.history(key)
    except StoreError as error:
        return [str(error)], 0
    if stored is not None and stored.next_event_id <= len(events):
        return [], len(events)  # it went on between the two reads
    wrong = ["state"] if stored is None else differences(stored, fold(key, events))
    if file.index_differs(key):
        wrong.append("index")
    return wrong, len(events)


@store.command()
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@file_option
def backup(target: Path, store_url: str) -> None:
    """Copy the store to the new file TARGET, whole and consistent."""
    with plain_errors(), StoreFile(store_url) as file:
        file.backup(target)
    say(f"{target}: {target.stat().st_size:,} bytes")


@store.command()
@click.argument("source", metavar="BACKUP", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("target", metavar="STORE")
@click.option("--overwrite", is_flag=True, help="Put it in the place of a store that is there.")
def restore(source: Path, target: str, overwrite: bool) -> None:
    """Make STORE a copy of BACKUP, once all of that was checked: whole, or not at all. No engine may be on it."""
    with plain_errors():
        path = path_of(target)
        restoring.restore(source, path, overwrite=overwrite)
    say(f"{path}: {path.stat().st_size:,} bytes")


@store.command("copy")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
def copy_store(source: str, target: str) -> None:
    """Copy all that the store SOURCE holds into the empty store TARGET: sqlite:///a.db, or any other kind.

    Open workflows, schedules and deadlines go on there with the next engine. No engine may be on either meanwhile.
    Users' own tables in a store are not copied.
    """
    with plain_errors():
        copied = asyncio.run(_copy(open_store(source), open_store(target)))
    events = f"{copied.event_bytes:,} bytes of history"
    say(f"{copied.executions:,} executions, {events}, {copied.tasks:,} tasks, {copied.messages:,} messages,")
    say(f"{copied.records:,} schedules and batches, {copied.namespaces:,} namespaces")


async def _copy(source: Store, target: Store) -> Copied:
    await source.open()
    try:
        await target.open()
        try:
            total = await copying.count(source)
            with click.progressbar(length=total, label="executions", file=sys.stderr) as bar:
                return await copying.copy(source, target, KINDS, bar.update)
        finally:
            await target.close()
    finally:
        await source.close()


@store.command()
@file_option
def accept_loss(store_url: str) -> None:
    """Have the next engine go on with a store whose write-ahead log is missing. What was in it alone stays lost."""
    with plain_errors():
        path = path_of(store_url)
        lacks = restoring.accept_loss(path)
    told = "lacks nothing that is known of" if lacks is None else f"goes on without {lacks}"
    say(f"{path} {told}")
