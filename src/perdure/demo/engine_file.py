"""The store that the engine keeps, looked at from outside while no engine runs.

What is shown of it is read from disk with no engine at hand: the strip is not the engine's word.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.api.digest import status_name
from perdure.demo.audit import Check, Ended
from perdure.demo.orders import Outcome
from perdure.demo.processes import Process, Town
from perdure.stores.folding import differences, fold
from perdure.stores.reading import StoreFile


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
        return Process("-m", "perdure.demo.engine_process", *arguments, environment=town.environment)

    def history(self, workflow_id: str) -> list[HistoryEvent]:
        """What is on disk of a workflow's newest run."""
        with StoreFile(self.url) as file:
            execution = file.load(workflow_id)
            return file.history(execution.key) if execution else []

    def ended(self) -> dict[str, Ended]:
        """How each order ended, by order id: the status of its execution and, when completed, its result."""
        with StoreFile(self.url) as file:
            return {
                summary.key.workflow_id.removeprefix("order-"): Ended(
                    status_name(summary.status),
                    _outcome(file.history(summary.key)[-1]) if summary.status == enums.COMPLETED else None,
                )
                for summary in file.executions()
            }

    def check(self) -> Check:
        """Fold every history again, and compare with the state that the engine keeps."""
        check = Check("each history, folded again, is the stored state")
        with StoreFile(self.url) as file:
            for summary in file.executions():
                stored = file.load(summary.key.workflow_id, summary.key.run_id)
                wrong = (
                    ["missing"] if stored is None else differences(stored, fold(summary.key, file.history(summary.key)))
                )
                check.expect(not wrong, f"{summary.key.workflow_id}: its state differs in {', '.join(wrong)}")
        return check


def _outcome(closing: HistoryEvent) -> Outcome:
    result = closing.workflow_execution_completed_event_attributes.result.payloads[0]
    return msgspec.json.decode(result.data, type=Outcome)
