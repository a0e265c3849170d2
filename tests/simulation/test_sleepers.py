"""Workflows that sleep for thirty days, as the benchmark has them, only fewer."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from benchmarks.sleepers import be_weighed, fall_asleep, wake_up

COUNT = 2_000


def test_sleepers_hold_no_thread_survive_a_restart_and_all_wake(tmp_path: Path) -> None:
    path = tmp_path / "sleepers.db"
    fell = asyncio.run(fall_asleep(path, COUNT))
    assert fell["disk_bytes"] / COUNT < 2_000
    threads = threading.active_count()
    weighed = asyncio.run(be_weighed(path, 0.0))
    assert weighed["asleep"] == COUNT
    assert weighed["threads"] - threads < 6
    asyncio.run(wake_up(path, COUNT))
