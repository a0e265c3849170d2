"""The store that the engine keeps, looked at from outside while no engine runs.

What is shown of it is read where it is stored, with no engine at hand: the strip is not the engine's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from temporalio.api.history.v1 import HistoryEvent

from perdure.api import enums
from perdure.api.digest import status_name
from perdure.demo.audit import Check, Ended
from perdure.demo.orders import Outcome
from perdure.demo.processes import Process, Town
from perdure.stores.databases import reading
from perdure.stores.folding import differences, fold
from perdure.stores.summary import Summary

_KINDS = {"sqlite": "a SQLite database", "postgresql": "a PostgreSQL database", "postgres": "a PostgreSQL database"}


class EngineStore:
    """A store of the engine's: starts engine processes on it, and reads it between them.

    Args:
        url: where it is.
        prefix: of the ids of workflows and of the task queue, where others may have the same ones in that store.
    """

    def __init__(self, url: str, prefix: str = "") -> None:
        self._url = url
        self._prefix = prefix

    @property
    def kind(self) -> str:
        """In words."""
        return _KINDS.get(urlsplit(self._url).scheme, "a MySQL database")

    def workflow_id(self, order_id: str) -> str:
        """Of an order."""
        return f"{self._prefix}order-{order_id}"

    def start_engine(self, orders: Path, town: Town) -> Process:
        """An engine process that works through these orders in this town; returns at once."""
        arguments = ("--store", self._url, "--prefix", self._prefix, "--orders", str(orders), "--leave-with-parent")
        return Process("-m", "perdure.demo.engine_process", *arguments, environment=town.environment)

    def history(self, order_id: str) -> list[HistoryEvent]:
        """What is stored of the newest run of an order's workflow."""
        with reading(self._url) as store:
            execution = store.load(self.workflow_id(order_id))
            return store.history(execution.key) if execution else []

    def ended(self) -> dict[str, Ended]:
        """How each order ended, by order id: the status of its execution and, when completed, its result."""
        with reading(self._url) as store:
            return {
                summary.key.workflow_id.removeprefix(self.workflow_id("")): Ended(
                    status_name(summary.status),
                    _outcome(store.history(summary.key)[-1]) if summary.status == enums.COMPLETED else None,
                )
                for summary in self._of_ours(store.executions())
            }

    def check(self) -> Check:
        """Fold every history again, and compare with the state that the engine keeps."""
        check = Check("each history, folded again, is the stored state")
        with reading(self._url) as store:
            for summary in self._of_ours(store.executions()):
                key = summary.key
                stored = store.load(key.workflow_id, key.run_id)
                wrong = ["missing"] if stored is None else differences(stored, fold(key, store.history(key)))
                check.expect(not wrong, f"{key.workflow_id}: its state differs in {', '.join(wrong)}")
        return check

    def _of_ours(self, found: Sequence[Summary]) -> list[Summary]:
        return [summary for summary in found if summary.key.workflow_id.startswith(self.workflow_id(""))]


def _outcome(closing: HistoryEvent) -> Outcome:
    result = closing.workflow_execution_completed_event_attributes.result.payloads[0]
    return msgspec.json.decode(result.data, type=Outcome)
