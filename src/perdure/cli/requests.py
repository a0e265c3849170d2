"""`perdure requests`: what applications have asked for in transactions of their own, and was not done."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime

import click
from rich import box
from rich.table import Table

from perdure.cli.options import database_option, json_option
from perdure.cli.output import console, plain_errors, print_json, say
from perdure.engine.records.requests import Listed, list_requests
from perdure.stores.api import Store
from perdure.stores.open import open_store
from perdure.stores.reading import path_of
from perdure.stores.sqlite.read_only import ReadOnlyStore


@click.command(short_help="Starts and signals of callers' transactions that were refused, or wait.")
@database_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="So many at most.")
@json_option
def requests(store_url: str, limit: int, as_json: bool) -> None:
    """List what applications have asked for in transactions of their own (`engine.start(..., connection=...)`) and was
    refused when it was to be done, with the reason, or waits for an engine that does it.

    What was refused is kept for as long as its namespace keeps executions.
    """
    with plain_errors():
        is_file = "://" not in store_url or store_url.startswith("sqlite:")
        store = ReadOnlyStore(path_of(store_url)) if is_file else open_store(store_url, creates=False)
        found = asyncio.run(_read(store, limit))
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        _show(found)
        if len(found) == limit:
            say(f"{limit} requests (there may be more: --limit)")
    else:
        say("no request was refused, and none waits")


async def _read(store: Store, limit: int) -> list[Listed]:
    await store.open()
    try:
        return await list_requests(store, limit)
    finally:
        await store.close()


def _show(found: list[Listed]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("state", "asked for", "namespace", "workflow id", "at", "why"):
        table.add_column(name, overflow="fold")
    for one in found:
        at = datetime.fromtimestamp(one.asked_at_ns / 1e9, UTC).isoformat(sep=" ", timespec="seconds")
        table.add_row(one.state, one.asked_for, one.namespace, one.workflow_id, at, one.refusal)
    console().print(table)
