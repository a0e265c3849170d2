"""`perdure nodes`: who serves a store."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass

import click
from rich import box
from rich.table import Table

from perdure.cli.options import database_option, json_option
from perdure.cli.output import console, plain_errors, print_json, say
from perdure.engine.duties.nodes import Node, read_nodes
from perdure.engine.node.config import NodeConfig
from perdure.stores.api import Store
from perdure.stores.open import open_store, shown_url
from perdure.stores.sqlite import SqliteStore
from perdure.stores.sqlite.ownership import owner_of

_SILENT_NS = NodeConfig().silence_ns


@dataclass(frozen=True, slots=True)
class Line:
    """A node as it is shown, and its JSON."""

    id: str
    name: str
    state: str
    """serving, draining, or silent: it has not been heard of for so long that it is, or will be, taken for dead."""
    heartbeat_age_s: float
    """By the clock of this machine, which may differ from the node's."""
    version: str
    host: str
    address: str
    partitions: int
    workers: int
    started_at_ns: int

    @staticmethod
    def of(node_id: str, node: Node, now_ns: int) -> Line:
        """A node at a time of this machine's clock."""
        age_ns = max(0, now_ns - node.beat_at_ns)
        state = "silent" if age_ns > _SILENT_NS else str(node.state)
        return Line(
            node_id, node.name, state, round(age_ns / 1e9, 1), node.version, node.host, node.address, node.partitions,
            node.workers, node.started_at_ns,
        )  # fmt: skip


@click.command(short_help="The nodes that serve a store, and how they stand.")
@database_option
@json_option
def nodes(store_url: str, as_json: bool) -> None:
    """List the nodes of the fleet on a store: when each was heard of last, its version, host and address, how many of
    the 4,096 partitions it looks after, and how many workers have polled it in the last minute."""
    with plain_errors():
        store = open_store(store_url, creates=False)
        if isinstance(store, SqliteStore):
            owner = owner_of(store.path)
            if as_json:
                print_json([])
            else:
                say(f"{store.path} is a file, which one process serves at a time: {owner or 'none does now'}")
            return
        found = asyncio.run(_read(store))
    if as_json:
        print_json([asdict(line) for line in found])
    elif found:
        _show(found)
    else:
        say(f"no node serves {shown_url(store_url)}")


async def _read(store: Store) -> list[Line]:
    await store.open()
    try:
        found = await read_nodes(store)
    finally:
        await store.close()
    now_ns = time.time_ns()
    return sorted((Line.of(node_id, node, now_ns) for node_id, node in found), key=lambda line: line.started_at_ns)


def _show(lines: list[Line]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("state", "name", "host", "address", "version"):
        table.add_column(name, overflow="fold")
    for name in ("heard of", "partitions", "workers"):
        table.add_column(name, justify="right")
    for line in lines:
        numbers = (f"{line.heartbeat_age_s:.1f} s ago", str(line.partitions), str(line.workers))
        table.add_row(line.state, line.name, line.host, line.address, line.version, *numbers)
    console().print(table)
