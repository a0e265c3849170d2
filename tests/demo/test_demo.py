"""The whole demo, small: as a command piped into a file, and with something wrong in a ledger."""

from __future__ import annotations

import io
import re
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from perdure.demo import act_three, show
from perdure.demo.act_three import plan_kills
from perdure.demo.act_two import Survived
from perdure.demo.audit import Books, read_books
from perdure.demo.orders import generate
from perdure.demo.show import Options, run_demo, the_orders
from tests.servers.chosen import CHOSEN, kinds
from tests.servers.stores import new_store

PERDURE = [sys.executable, "-c", "from perdure.cli.main import main; main()"]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    keep = tmp_path_factory.mktemp("demo") / "kept"
    command = [*PERDURE, "demo", "--orders", "60", "--kills", "4", "--seed", "7", "--keep", str(keep)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False), keep


Played = tuple[subprocess.CompletedProcess[str], Path]


def test_the_demo_adds_up(played: Played) -> None:
    done, _ = played
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "ORDER #1001: $84.00 without perdure, $42.00 with it." in done.stdout
    assert "60 orders under 4 SIGKILLs: 0 findings." in done.stdout


def test_the_demo_shows_the_strip_and_what_replay_handed_back(played: Played) -> None:
    done, _ = played
    assert re.search(r"replay +hands back ChargeCard", done.stdout)
    assert re.search(r"resumes at ReserveInventory, \d+ ms after its start", done.stdout)
    strips = done.stdout.split("strip")
    assert len(strips) >= 4
    assert "ActivityTaskCompleted" not in strips[1]
    assert "WorkflowExecutionCompleted" in strips[-1]


def test_into_a_pipe_goes_plain_text(played: Played) -> None:
    done, _ = played
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert done.stdout.count("orders finished, killed") <= 10
    assert max(len(line) for line in done.stdout.splitlines()) <= 110


def test_kept_files_can_be_looked_at(played: Played) -> None:
    _, keep = played
    look = [*PERDURE, "workflow", "list", "--store", f"sqlite:///{keep}/act3/orders.db", "--limit", "60"]
    listed = subprocess.run(look, capture_output=True, text=True, check=True).stdout
    assert listed.count("COMPLETED") == 60
    check = subprocess.run(
        [*PERDURE, "store", "check", "--store", f"sqlite:///{keep}/act3/orders.db"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert check.returncode == 0, check.stdout


@pytest.mark.parametrize("kind", [kind for kind in kinds("postgres") if kind != "memory"])
def test_the_demo_adds_up_on_a_database(kind: str, tmp_path: Path) -> None:
    orders, kills = ("60", "4") if CHOSEN else ("10", "1")
    with new_store(kind, tmp_path) as url:
        command = [*PERDURE, "demo", "--orders", orders, "--kills", kills, "--seed", "7", "--store", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        assert f"{orders} orders under {kills} SIGKILLs: 0 findings." in done.stdout
        assert re.search(r"replay +hands back ChargeCard", done.stdout)
        checked = subprocess.run(
            [*PERDURE, "store", "check", "--store", url], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0 and f"{int(orders) + 1} executions" in checked.stdout, checked.stdout


@pytest.mark.parametrize("store", ["memory://", "grpc://127.0.0.1:7233"])
def test_a_store_that_ends_with_its_engine_is_no_stage(store: str) -> None:
    done = subprocess.run([*PERDURE, "demo", "--store", store], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "must be a file or a database" in done.stderr


def test_a_ledger_that_is_wrong_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_one_charge_too_many(payments: Path, inventory: Path, shipping: Path) -> Books:
        with closing(sqlite3.connect(payments)) as db:
            db.execute("INSERT INTO charges (order_id, customer, amount_cents, at_ns) VALUES ('1001', 'ada', 4200, 0)")
            db.commit()
        return read_books(payments, inventory, shipping)

    monkeypatch.setattr(act_three, "read_books", with_one_charge_too_many)
    monkeypatch.setattr(show, "act_one", lambda screen, directory: 8400)
    monkeypatch.setattr(show, "act_two", lambda screen, directory, store: Survived(4200, [], 2, []))
    out = io.StringIO()
    assert run_demo(Console(file=out, width=110), Options(orders=5, kills=0)) == 1
    assert "order 1001 was charged $42.00 + $42.00, should have been $42.00" in out.getvalue()
    assert "the audit has 2 findings" in out.getvalue()


def test_the_seed_decides_the_kills() -> None:
    assert plan_kills(1000, 20, 7) == plan_kills(1000, 20, 7)
    assert plan_kills(1000, 20, 7) != plan_kills(1000, 20, 8)
    moments: Sequence[int] = [kill.after_calls for kill in plan_kills(1000, 20, 7)]
    assert moments == sorted(moments)
    assert len(moments) == 20
    assert moments[-1] < 3500


def test_more_orders_than_the_file_holds_come_from_its_script() -> None:
    assert list(the_orders(Options(orders=1200))) == list(generate(1200))
    assert list(the_orders(Options(orders=3))) == list(generate(3))
