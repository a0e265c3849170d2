"""`perdure store`: the file itself."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from perdure.cli.options import file_option, group, json_option
from perdure.cli.output import plain_errors, print_json, say
from perdure.engine.records.kinds import KINDS
from perdure.stores import checking, copying
from perdure.stores.api import Store
from perdure.stores.checking import Checked, check_executions
from perdure.stores.copying import Copied
from perdure.stores.open import open_store
from perdure.stores.reading import FileSight, StoreFile, path_of
from perdure.stores.sqlite import restoring


@group(short_help="A store's file: check it, back it up.")
def store() -> None:
    """A store's file: check it, back it up. An engine may be running on it."""


@store.command()
@file_option
@click.option("--namespace", help="This one's executions alone.")
@json_option
def check(store_url: str, namespace: str | None, as_json: bool) -> None:
    """Read everything: checksums, tables, pages; fold every history again and compare it with the stored state, the
    index and the task queues. Engines may be running. Exit code 1 when something is damaged or differs."""
    with plain_errors():
        if "://" in store_url and not store_url.startswith("sqlite:"):
            checked = asyncio.run(_check_store(open_store(store_url)))
        else:
            checked = _check_file(store_url, namespace)
    _tell_checked(checked, as_json)
    if checked.problems or checked.damage:
        raise SystemExit(1)


def _check_file(store_url: str, namespace: str | None) -> Checked:
    with StoreFile(store_url) as file:
        checked = Checked(damage=file.check())
        sight = FileSight(file, file.namespaces() if namespace is None else [namespace])
        with _progress(len(sight.all_keys)) as bar:
            asyncio.run(check_executions(sight, checked, bar.update))
    return checked


async def _check_store(store: Store) -> Checked:
    await store.open()
    try:
        with _progress(await copying.count(store)) as bar:
            return await checking.check(store, KINDS, bar.update)
    finally:
        await store.close()


def _progress(executions: int) -> Any:
    """A bar on standard error, when somebody looks."""
    return click.progressbar(length=executions, label="executions", file=sys.stderr, hidden=not sys.stderr.isatty())


def _tell_checked(checked: Checked, as_json: bool) -> None:
    problems = [
        f"{key.workflow_id} (run {key.run_id}): {', '.join(found)}" for key, found in sorted(checked.problems.items())
    ]
    if as_json:
        totals = {"executions": checked.executions, "events": checked.events}
        print_json({**totals, "problems": problems, "damage": checked.damage})
        return
    for problem in checked.damage:
        say(f"damaged: {problem}")
    for problem in problems:
        say(f"not as it should be: {problem}")
    told = f"{checked.executions} executions, {checked.events} events folded, {len(problems)} differ"
    say(f"{told}, {len(checked.damage)} damaged" if checked.damage else told)


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
            with _progress(total) as bar:
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
