"""Starts the processes of `worker_process` and kills them as a crash would."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def process(task: str, path: Path | str) -> Generator[subprocess.Popen[str]]:
    """Runs until the block ends, at the latest."""
    command = [sys.executable, "-m", "tests.stores.worker_process", task, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        try:
            yield running
        finally:
            running.kill()


def read_line(running: subprocess.Popen[str]) -> str:
    """The next thing that the process says."""
    assert running.stdout is not None
    line = running.stdout.readline().strip()
    assert line, "the process ended before it said anything"
    return line


def kill(running: subprocess.Popen[str]) -> None:
    """SIGKILL, and wait until the process is gone."""
    running.send_signal(signal.SIGKILL)
    running.wait()
