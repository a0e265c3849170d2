"""What waits for a decision, and the decision: both are stored, in the memo and in the history."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.sdk.moments import former_ns, moment_of

MEMO_KEY = "perdure.interventions"
"""The memo of a run that waits: the list of its open entries. Absent when there is none."""
SIGNAL = "__perdure_intervention"


class Action(StrEnum):
    """What a person decided about a step that failed for good."""

    RETRY = "retry"
    COMPLETE = "complete"
    SKIP = "skip"
    FAIL = "fail"


class Intervention(msgspec.Struct, frozen=True):
    """Something that failed for good, and waits for a person."""

    id: str
    """Of this entry alone: what is retried and fails again is another."""
    workflow_id: str
    run_id: str
    workflow_type: str
    step: str
    """The activity that failed."""
    error: str
    """Why, in one line."""
    _opened_at_ns: int = msgspec.field(name="opened_at_ns")

    @property
    def opened_at(self) -> datetime:
        """When it failed for good: workflow time, in UTC, to the microsecond."""
        return moment_of(self._opened_at_ns)

    if not TYPE_CHECKING:
        opened_at_ns = former_ns("opened_at_ns", "opened_at")


class Decision(msgspec.Struct, frozen=True):
    """What a person decided."""

    action: Action
    who: str
    why: str
    value: Any = None
    """Of "complete": what the step is taken to have come to."""


def signal_of(entry_id: str) -> str:
    """The name of the signal that brings the decision on an entry; its argument is a Decision. Raises nothing."""
    return f"{SIGNAL}:{entry_id}"
