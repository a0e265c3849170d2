"""What passes between a run's machine and its worker about local activities (`local_activity.py`).

The machine says what it wants before the task can be answered; the worker comes back with a `Report`,
as often as something has ended, or when the task must be completed as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure

from perdure.sdk.declare.definitions import AnyActivity
from perdure.sdk.options import SECOND_NS

TASK_TIMEOUT_NS = 10 * SECOND_NS
"""Of a run whose first event does not say it: Temporal's default."""


@dataclass(slots=True, frozen=True)
class LocalRequest:
    """One that the worker is to run.

    Attributes:
        seq: names it within the run.
        attempt: the first one's number; more than 1 behind a durable back-off.
        spent_ns: how much of its schedule_to_close has passed.
        scheduled_at_ns: when the code first asked for it, workflow time.
    """

    seq: int
    definition: AnyActivity
    activity_id: str
    attempt: int
    input: Sequence[Payload]
    spent_ns: int
    scheduled_at_ns: int
    headers: Mapping[str, Payload] | None = None

    def is_same(self, other: LocalRequest) -> bool:
        """Whether it is the same call, of code that runs again."""
        return (self.seq, self.definition.name, self.activity_id, self.attempt) == (
            other.seq,
            other.definition.name,
            other.activity_id,
            other.attempt,
        ) and list(self.input) == list(other.input)


@dataclass(slots=True, frozen=True)
class LocalWork:
    """What a machine wants of its worker before the task can be answered.

    Attributes:
        start: to be run, beside those that are running already.
        stop: numbers (`seq`) of those that are to be told to stop.
        urgent: somebody waits for this task's answer: complete it now, and go on in the next one.
        task_timeout_ns: how long a workflow task of this run may last.
    """

    start: Sequence[LocalRequest]
    stop: Sequence[int]
    urgent: bool
    task_timeout_ns: int


@dataclass(slots=True, frozen=True)
class LocalOutcome:
    """How one ended: a result, or a failure, and with a back-off one that is to be tried again after it."""

    seq: int
    attempt: int
    result: Payloads | None = None
    failure: Failure | None = None
    backoff_ns: int = 0


@final
@dataclass(slots=True, frozen=True)
class Report:
    """What the worker brings back. Without outcomes: the task must be completed as it is, and goes on in a new one."""

    now_ns: int
    """The worker's time by the server's clock."""
    outcomes: Sequence[LocalOutcome] = field(default_factory=tuple)
