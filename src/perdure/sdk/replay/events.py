"""Who reads which event of history: each kind of thing registers what it is woken by.

Command events have no reader: they are matched with what the code asked for (`entry.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.replay.run import Run

Reader = Callable[[Run, HistoryEvent], None]

READERS: Final[dict[EventType.ValueType, Reader]] = {}
"""By event type. An event without one, and without a command, says nothing to the code."""


def reads(*event_types: EventType.ValueType) -> Callable[[Reader], Reader]:
    """Register the reader of these events."""

    def register(reader: Reader) -> Reader:
        for event_type in event_types:
            assert event_type not in READERS, f"event type {event_type} is read twice"
            READERS[event_type] = reader
        return reader

    return register
