"""`perdure store sizes`, beside an engine that runs and after it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner

from perdure import Engine, workflow
from perdure.cli.main import cli


@workflow
def waits() -> None:
    workflow.sleep(days=1)


@workflow
def counts(number: int) -> int:
    return number


def test_sizes_of_a_store_that_an_engine_has_open_and_of_one_at_rest(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'orders.db'}"
    with Engine(url, workflows=[waits, counts]) as engine:
        assert [engine.run(counts, number, id=f"count-{number}") for number in range(3)] == [0, 1, 2]
        engine.start(waits, id="waits")
        beside = CliRunner().invoke(cli, ["store", "sizes", "--store", url])
    assert beside.exit_code == 0, beside.output
    assert "1 open and 3 closed executions" in beside.output
    assert "executions_visibility" in beside.output and "count-0" in beside.output
    before = sorted(path.name for path in tmp_path.iterdir())

    told = CliRunner().invoke(cli, ["store", "sizes", "--store", url, "--largest", "1", "--json"])

    assert told.exit_code == 0, told.output
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    sizes = json.loads(told.output)
    assert (sizes["open_executions"], sizes["closed_executions"], len(sizes["largest"])) == (1, 3, 1)
    executions = next(table for table in sizes["tables"] if table["name"] == "executions")
    assert executions["rows"] == 4 and not executions["is_estimate"]
    assert sizes["bytes"] == sum(one["bytes"] + sum(one["indexes"].values()) for one in sizes["tables"])
    with closing(sqlite3.connect(tmp_path / "orders.db")) as connection:
        [[pages, page_bytes]] = connection.execute(
            "SELECT page_count - freelist_count, page_size "
            "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
        )
    assert sizes["bytes"] == pages * page_bytes


def test_a_store_that_is_not_there_has_no_size(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["store", "sizes", "--store", f"sqlite:///{tmp_path / 'none.db'}"])
    assert result.exit_code == 1 and "There is no store" in result.output
    assert not list(tmp_path.iterdir())
