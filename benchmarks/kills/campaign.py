"""Kills the clients' process again and again, and audits what is left."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kills.audit import Audit, audit
from benchmarks.kills.clients import lines_of

STALL_S = 90
"""A process that says nothing for so long is stuck: its stacks are printed, and the campaign has failed."""
EARLY = 0.2
"""The share of kills that come while the process starts, or just after."""


@dataclass(slots=True)
class Campaign:
    """One campaign: `run` it once.

    Args:
        say: given a line for every kill.
    """

    directory: Path
    workflows: int
    kills: int
    seed: int
    say: Callable[[str], None]
    dealt: int = 0
    start_s: float = 0.5
    """How long the last process took to be ready."""

    def run(self) -> Audit:
        """Raises AssertionError when a process ends otherwise than it should, or says nothing any more."""
        chance = random.Random(self.seed)
        while True:
            left = max(lines_of(self.workflows) - self.lines(), 50)
            lives = chance.uniform(1, 2 * left / max(self.kills - self.dealt, 1))
            early = chance.uniform(0, 1.2 * self.start_s) if chance.random() < EARLY else None
            wait_s = max(chance.uniform(-0.2, 0.2), 0.0)
            code = self.one_life(
                int(lives) if self.dealt < self.kills else None, early, wait_s, chance.uniform(0, 0.01)
            )
            if code == 0:
                return audit(self.directory, self.workflows)
            assert code == -signal.SIGKILL, f"the process ended with {code} (seed {self.seed})"
            self.dealt += 1
            self.say(f"kill {self.dealt}: {self.lines():,} of {lines_of(self.workflows):,} lines")

    def lines(self) -> int:
        path = self.directory / "ledger"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def one_life(self, lives: int | None, early: float | None, wait_s: float, jitter_s: float) -> int:
        """A process from its start to its end; `lives`: how many lines it may write, None: as many as it likes."""
        command = [
            sys.executable,
            "-m",
            "benchmarks.kills.clients",
            *map(str, (self.directory, self.workflows, wait_s)),
        ]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        assert child.stdout is not None
        began = time.monotonic()
        with child, child.stdout:
            if early is not None and lives is not None:
                time.sleep(early)
                child.kill()
                return child.wait()
            said = 0
            while chunk := self.read(child):
                if chunk.startswith(b"ready"):
                    self.start_s = time.monotonic() - began
                said += chunk.count(b"\n")
                if lives is not None and said > lives:
                    time.sleep(jitter_s)
                    child.kill()
                    break
            return child.wait()

    def read(self, child: subprocess.Popen[bytes]) -> bytes:
        assert child.stdout is not None
        if not select.select([child.stdout], [], [], STALL_S)[0]:
            child.send_signal(signal.SIGUSR1)
            time.sleep(1)
            child.kill()
            raise AssertionError(f"nothing happened for {STALL_S} s (seed {self.seed}, after {self.dealt} kills)")
        return os.read(child.stdout.fileno(), 256)
