"""A program's transactions and the engine's under SIGKILL; `python -m benchmarks.application_kills` does thousands."""

from __future__ import annotations

import psycopg

from benchmarks.application_kills import is_rolled_back, run_under_kills
from tests.servers.fixtures import conninfo, hold
from tests.servers.server import Server


def test_every_committed_order_has_one_workflow_and_one_row_after_every_kill() -> None:
    with hold(Server.private, "postgres") as server:
        with psycopg.connect(conninfo(server), autocommit=True) as connection:
            connection.execute("CREATE DATABASE application")
        dealt, seen = run_under_kills(server, "application", orders=60, kills=2, seed=7)
    assert dealt.total() >= 2
    expected = sum(not is_rolled_back(order) for order in range(60))
    assert (seen.orders, seen.workflows, seen.booked, seen.problems) == (expected, expected, expected, [])
