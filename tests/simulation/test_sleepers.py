"""Workflows that sleep for thirty days, as the benchmark has them, only fewer."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from benchmarks import sleepers
from benchmarks.sleepers import audit, fill, sizes, wake
from perdure import AsyncEngine
from tests.servers.fixtures import url
from tests.servers.server import Server

COUNT, DUE = 2_000, 1_000


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_sleepers_hold_no_thread_survive_a_restart_and_wake_when_they_are_due(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sleepers, "WINDOW_S", 1.0)
    monkeypatch.setattr(sleepers, "BEFORE_S", 0.5)
    if kind == "sqlite":
        address = f"sqlite:///{tmp_path / 'sleepers.db'}"
    else:
        server: Server = request.getfixturevalue("postgres_server")
        address = url(server, request.getfixturevalue("postgres_database"))
    fell = asyncio.run(fill(address, COUNT, DUE))
    weighed = asyncio.run(sizes(address))
    assert weighed["open"] == COUNT
    assert weighed["bytes_each"] < 5_000  # of few in many pages of many tables
    assert asyncio.run(_threads_of_an_engine_on(address)) < 6

    woken = asyncio.run(wake(address, DUE, fell["base_s"], 20.0))

    assert woken["orders"] > 0
    assert asyncio.run(audit(address, DUE, fell["base_s"]))["woken"] == DUE
    assert asyncio.run(sizes(address))["open"] == COUNT - DUE


async def _threads_of_an_engine_on(address: str) -> int:
    before = threading.active_count()
    async with AsyncEngine(address, workflows=[], activities=[]):
        return threading.active_count() - before
