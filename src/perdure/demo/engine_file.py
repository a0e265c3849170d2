"""The one file that the engine keeps, looked at from outside while no engine runs.

What is shown of it is read from disk with no engine at hand: the strip is not the engine's word.
"""

from __future__ import annotations

from pathlib import Path

from perdure.demo.processes import Process, Town


class EngineFile:
    """A SQLite file of the engine's: starts engine processes on it, and reads it between them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def start_engine(self, orders: Path, town: Town) -> Process:
        """An engine process that works through these orders in this town; returns at once."""
        arguments = ("--store", self.url, "--orders", str(orders), "--leave-with-parent")
        return Process("perdure.demo.engine_process", *arguments, environment=town.environment)
