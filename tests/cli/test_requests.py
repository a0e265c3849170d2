"""`perdure requests`: what a transaction of an application has asked for, and nobody has done."""

from __future__ import annotations

import json

import psycopg
from click.testing import CliRunner

from perdure import Engine, workflow
from perdure.cli.main import cli
from tests.eventually import eventually
from tests.servers.fixtures import conninfo, url
from tests.servers.server import Server


@workflow
def ship(order: str) -> str:
    return f"shipped {order}"


def listed(store: str, *options: str) -> str:
    done = CliRunner().invoke(cli, ["requests", "--store", store, *options], env={"COLUMNS": "250"})
    assert done.exit_code == 0, done.output
    return done.output


def test_what_was_refused_is_listed_with_its_reason_and_what_waits_beside_it(
    postgres_server: Server, postgres_database: str
) -> None:
    store = url(postgres_server, postgres_database)
    with psycopg.connect(conninfo(postgres_server, postgres_database)) as connection:
        with Engine(store, workflows=[ship]) as engine:
            engine.get("nobody\0there").signal("pay", "cash", request_id="a\0b", connection=connection)
            connection.commit()
            eventually(lambda: "refused" in listed(store), "the signal to be refused")
            engine.start(ship, "1001", id="ship-1001", connection=connection)
            assert "ship-1001" not in listed(store), "it is not committed"
        connection.commit()
    refused, waiting = json.loads(listed(store, "--json"))
    assert (refused["state"], refused["asked_for"], refused["workflow_id"]) == ("refused", "signal", "nobody\0there")
    assert "not found" in refused["refusal"]
    assert (waiting["state"], waiting["asked_for"], waiting["workflow_id"]) == ("waiting", "start", "ship-1001")
    assert "there may be more" in listed(store, "--limit", "1")
    with Engine(store, workflows=[ship]) as engine:
        eventually(lambda: "ship-1001" not in listed(store), "the engine to do what waited")
        assert engine.get("ship-1001").result() == "shipped 1001"
