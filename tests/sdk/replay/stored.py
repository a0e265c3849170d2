"""Histories that a real Temporal server wrote for the workflows of `orders.py` and `scenes.py`.

They were recorded by `record.py` with `temporal server start-dev`, the machine being the worker; identities, task
ids and stack traces were taken out afterwards.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from google.protobuf import json_format
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

FOLDER = Path(__file__).parent / "histories"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))

_STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
_COMPLETED = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED


def load(name: str | Path) -> list[HistoryEvent]:
    """The events of one stored history, given by its name or its file."""
    path = name if isinstance(name, Path) else FOLDER / f"{name}.json"
    history = History()
    json_format.Parse(path.read_text(encoding="utf-8"), history)
    return list(history.events)


def task_of(events: list[HistoryEvent], run_id: str = "run") -> PollWorkflowTaskQueueResponse:
    """A poll's answer with these events."""
    task = PollWorkflowTaskQueueResponse(task_token=b"t")
    started = events[0].workflow_execution_started_event_attributes
    task.workflow_execution.workflow_id = started.workflow_id or "w"
    task.workflow_execution.run_id = started.original_execution_run_id or run_id
    task.history.events.extend(events)
    return task


def task_ends(events: list[HistoryEvent]) -> list[int]:
    """How many events a worker had seen at each workflow task that was completed."""
    pairs = itertools.pairwise(events)
    return [a.event_id for a, b in pairs if a.event_type == _STARTED and b.event_type == _COMPLETED]
