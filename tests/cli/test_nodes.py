"""`perdure nodes`: the fleet on a store, for people and for programs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perdure import Engine
from perdure.cli.main import cli
from perdure.cli.nodes import Line
from perdure.engine import Engine as Core
from perdure.engine import EngineConfig, NodeConfig
from perdure.engine.duties.nodes import Node, State
from perdure.stores.open import open_store
from perdure.stores.partitions import PARTITIONS
from tests.servers.fixtures import url
from tests.servers.server import Server

SECOND_NS = 10**9


def nodes(store: str, *options: str) -> Result:
    return CliRunner().invoke(cli, ["nodes", "--store", store, *options])


@pytest.mark.parametrize(
    ("said", "age_ns", "state"),
    [
        (State.SERVING, SECOND_NS // 2, "serving"),
        (State.DRAINING, SECOND_NS // 2, "draining"),
        (State.SERVING, 4 * SECOND_NS, "silent"),
        (State.SERVING, -SECOND_NS, "serving"),
    ],
)
def test_a_line_says_how_a_node_stands(said: State, age_ns: int, state: str) -> None:
    node = Node("blue-1", 1, 10 * SECOND_NS, version="1.0", host="blue", address=":7233", partitions=7, workers=2)
    node.state = said
    line = asdict(Line.of("id", node, 10 * SECOND_NS + age_ns))
    assert line == {
        "id": "id",
        "name": "blue-1",
        "state": state,
        "heartbeat_age_s": max(0, age_ns) / SECOND_NS,
        "version": "1.0",
        "host": "blue",
        "address": ":7233",
        "partitions": 7,
        "workers": 2,
        "started_at_ns": 1,
    }


def test_a_file_has_one_process_and_no_fleet(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/orders.db"
    with Engine(store, worker=False):
        pass
    assert "none does now" in nodes(store).output
    with Engine(store, worker=False):
        assert "which one process serves at a time: this process" in nodes(store).output
        assert json.loads(nodes(store, "--json").output) == []


def test_the_nodes_on_a_database_are_listed_and_one_that_stops_is_not(
    postgres_server: Server, postgres_database: str
) -> None:
    store = url(postgres_server, postgres_database)

    async def fleet() -> tuple[Result, Result, Result]:
        configs = [EngineConfig(node=NodeConfig(name=name)) for name in ("blue", "green")]
        blue, green = [Core(open_store(store), config=config) for config in configs]
        for engine in (blue, green):
            await engine.start()
        await blue.duties.changes.reached(2)  # itself, and the other one
        assert blue.duties.me is not None
        loop = asyncio.get_running_loop()
        as_json = await loop.run_in_executor(None, nodes, store, "--json")
        as_table = await loop.run_in_executor(None, nodes, store)
        await blue.stop()
        rest = await loop.run_in_executor(None, nodes, store, "--json")
        await green.stop()
        return as_json, as_table, rest

    as_json, as_table, rest = asyncio.run(fleet())
    listed = json.loads(as_json.output)
    assert [line["name"] for line in listed] == ["blue", "green"]
    assert {line["state"] for line in listed} == {"serving"}
    assert sum(line["partitions"] for line in listed) >= PARTITIONS, "for a moment both may have some"
    assert "green" in as_table.output
    assert [line["name"] for line in json.loads(rest.output)] == ["green"]
    assert "no node serves" in nodes(store).output
