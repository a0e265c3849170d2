"""Workflows that sleep for thirty days, as the benchmark has them, only fewer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks import sleepers
from benchmarks.sleeper_stores import Progress
from benchmarks.sleepers import ROOT, audit, fill, sizes, wake
from perdure import AsyncEngine
from tests.servers.fixtures import url
from tests.servers.server import Server

COUNT, DUE = 2_000, 800


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
    progress = Progress(base_s=time.time(), due=DUE)
    progress.filled = asyncio.run(fill(address, COUNT // 2, progress))["filled"]
    progress.filled -= 10  # what was started last is not always known to be, when a process is killed
    progress.filled = asyncio.run(fill(address, COUNT, progress))["filled"]
    weighed = asyncio.run(sizes(address))
    assert weighed["open"] == COUNT
    assert weighed["bytes_each"] < 5_000  # of few in many pages of many tables
    assert asyncio.run(_threads_of_an_engine_on(address)) < 6

    for left in (COUNT - DUE, COUNT - 2 * DUE):
        woken = asyncio.run(wake(address, progress, 20.0))

        progress.waves += 1
        assert woken["orders"] > 0
        assert asyncio.run(audit(address, progress))["woken"] == DUE
        assert asyncio.run(sizes(address))["open"] == left


def test_what_an_engine_keeps_of_sleepers_is_bounded_by_bytes(tmp_path: Path) -> None:
    """In a process of its own, whose memory is nobody else's. Unbounded, 6,000 sleepers take more than 120 MB."""
    ran = subprocess.run(
        [sys.executable, "-c", _GROWTH, f"sqlite:///{tmp_path / 'sleepers.db'}"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    limit_mb, sundries_mb = 32, 40
    assert float(ran.stdout) < limit_mb + sundries_mb


_GROWTH = """
import asyncio, sys, time
from benchmarks.sleepers import Starter, all_sleep, rss_mb
from benchmarks.inside import store_of
from benchmarks.sleeper_workflow import sleeper
from perdure import AsyncEngine

async def grow():
    async with AsyncEngine(sys.argv[1], workflows=[sleeper], activities=[], memory_limit_mb=32) as engine:
        before = rss_mb()
        await Starter(engine, 0, time.time(), "sleeper").start_all(range(6_000))
        await all_sleep(store_of(engine))
        print(rss_mb() - before)

asyncio.run(grow())
"""


async def _threads_of_an_engine_on(address: str) -> int:
    before = threading.active_count()
    async with AsyncEngine(address, workflows=[], activities=[]):
        return threading.active_count() - before
