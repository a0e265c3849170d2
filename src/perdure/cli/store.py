"""`perdure store`: the file itself."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.table import Table

from perdure.cli.options import database_option, file_option, group, json_option
from perdure.cli.output import console, plain_errors, print_json, say
from perdure.engine.records.kinds import KINDS
from perdure.stores import checking, copying, sizes
from perdure.stores.api import Store, StoreError
from perdure.stores.checking import Checked, check_executions
from perdure.stores.copying import Copied
from perdure.stores.open import open_store, shown_url
from perdure.stores.reading import FileSight, StoreFile, path_of
from perdure.stores.sizes import Sizes
from perdure.stores.sqlite import restoring
from perdure.stores.sqlite.read_only import ReadOnlyStore


@group(short_help="A store: check it, measure it, copy it, back it up.")
def store() -> None:
    """A store: check it, measure it, copy it, back it up."""


@store.command()
@database_option
@click.option("--namespace", help="This one's executions alone.")
@json_option
def check(store_url: str, namespace: str | None, as_json: bool) -> None:
    """Read everything: checksums, tables, pages; fold every history again and compare it with the stored state, the
    index and the task queues. Engines may be running. Exit code 1 when something is damaged or differs."""
    with plain_errors():
        if "://" in store_url and not store_url.startswith("sqlite:"):
            checked = asyncio.run(_check_store(open_store(store_url, creates=False)))
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


@store.command("sizes")
@database_option
@click.option("--largest", type=click.IntRange(0, 1000), default=10, show_default=True, help="So many histories.")
@json_option
def sizes_of_store(store_url: str, largest: int, as_json: bool) -> None:
    """Tell what the store takes: tables, indexes, an execution, the longest histories. Engines may be running.

    Rows with ~ are the database's own estimate. Of a SQLite store all pages are read.
    """
    with plain_errors():
        is_file = "://" not in store_url or store_url.startswith("sqlite:")
        opened = ReadOnlyStore(path_of(store_url)) if is_file else open_store(store_url, creates=False)
        measured = asyncio.run(_measure(opened, largest))
    if as_json:
        print_json(_sizes_as_json(measured))
    else:
        _tell_sizes(measured)


async def _measure(store: Store, largest: int) -> Sizes:
    await store.open()
    try:
        return await sizes.measure(store, largest)
    finally:
        await store.close()


def _sizes_as_json(measured: Sizes) -> dict[str, Any]:
    return {
        "bytes": measured.bytes,
        "open_executions": measured.open_executions,
        "closed_executions": measured.closed_executions,
        "bytes_per_execution": measured.bytes_per_execution,
        "open": {
            "looked_at": measured.open_looked_at,
            "state_bytes": measured.open_state_bytes,
            "history_bytes": measured.open_history_bytes,
        },
        "tables": [asdict(table) for table in measured.tables],
        "largest": None
        if measured.largest is None
        else [
            {
                "namespace": one.key.namespace,
                "workflow_id": one.key.workflow_id,
                "run_id": one.key.run_id,
                "events": one.events,
                "bytes": one.bytes,
            }
            for one in measured.largest
        ],
    }


def _tell_sizes(measured: Sizes) -> None:
    table = Table("table", "rows", "bytes", "of it indexes")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in measured.tables:
        rows = f"{'~' if one.is_estimate else ''}{one.rows:,}"
        table.add_row(one.name, rows, f"{one.all_bytes:,}", f"{sum(one.indexes.values()):,}")
        for name, size in sorted(one.indexes.items(), key=lambda item: -item[1]):
            table.add_row(f"  {name}", "", "", f"{size:,}")
    console().print(table)
    if measured.executions is None:
        say(f"{measured.bytes:,} bytes; to count the executions took too long")
    else:
        told = f"{measured.open_executions:,} open and {measured.closed_executions:,} closed executions"
        each = measured.bytes_per_execution
        say(f"{measured.bytes:,} bytes, {told}" + (f", {each:,.0f} bytes each" if each else ""))
    if measured.open_looked_at:
        state, history = measured.open_state_bytes, measured.open_history_bytes
        looked_at = f"the newest {measured.open_looked_at:,}"
        say(f"an open one: {state:,.0f} bytes of state, {history:,.0f} of history ({looked_at})")
    if measured.largest is None:
        say("to find the longest histories took too long")
    elif measured.largest:
        longest = Table("the longest histories", "run", "events", "bytes")
        for one in measured.largest:
            longest.add_row(one.key.workflow_id, one.key.run_id, f"{one.events:,}", f"{one.bytes:,}")
        console().print(longest)


@store.command()
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@file_option
def backup(target: Path, store_url: str) -> None:
    """Copy the store to the new file TARGET, whole and consistent. A database is backed up with its own tools."""
    with plain_errors():
        _leave_to_the_database(store_url)
        with StoreFile(store_url) as file:
            file.backup(target)
    say(f"{target}: {target.stat().st_size:,} bytes")


@store.command()
@click.argument("source", metavar="BACKUP", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("target", metavar="STORE")
@click.option("--overwrite", is_flag=True, help="Put it in the place of a store that is there.")
def restore(source: Path, target: str, overwrite: bool) -> None:
    """Make STORE a copy of BACKUP, once all of that was checked: whole, or not at all. No engine may be on it."""
    with plain_errors():
        _leave_to_the_database(target)
        path = path_of(target)
        restoring.restore(source, path, overwrite=overwrite)
    say(f"{path}: {path.stat().st_size:,} bytes")


def _leave_to_the_database(url: str) -> None:
    """Raises StoreError for a store that is in a database: only that can make a copy of one moment beside engines."""
    advice = _DATABASE_TOOLS.get(urlsplit(url).scheme)
    if advice is not None:
        raise StoreError(
            f"{shown_url(url)} is in a database, which is backed up and restored with its own tools, beside engines "
            f"that run: {advice}. `perdure store copy` brings what a backup's file of a SQLite store holds into it, or "
            "all that it holds into such a file, while no engine is on it."
        )


_POSTGRES_TOOLS = (
    "`pg_dump` (and `pg_restore` into an empty database) is of one moment; `pg_basebackup` with an archive of the "
    "write-ahead log is of any; docs/postgresql.md says what to look out for"
)
_MYSQL_TOOLS = (
    "`mariadb-dump --single-transaction --hex-blob` (or `mysqldump`) is of one moment; `mariadb-backup` with the "
    "binary log is of any; docs/mysql.md says what to look out for"
)
_DATABASE_TOOLS = {
    "postgresql": _POSTGRES_TOOLS, "postgres": _POSTGRES_TOOLS, "mysql": _MYSQL_TOOLS, "mariadb": _MYSQL_TOOLS
}  # fmt: skip


@store.command("copy")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
def copy_store(source: str, target: str) -> None:
    """Copy all that the store SOURCE holds into the empty store TARGET: sqlite:///a.db, or any other kind.

    Open workflows, schedules and deadlines go on there with the next engine. No engine may be on either meanwhile.
    Users' own tables in a store are not copied.
    """
    with plain_errors():
        copied = asyncio.run(_copy(open_store(source, creates=False), open_store(target)))
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
