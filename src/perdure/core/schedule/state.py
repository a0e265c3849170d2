"""What is remembered of a schedule: what it is, how far it was carried out, and what it waits for.

One record of the store holds one of these. A start is never made from memory alone: it is first written down in
`starting`, under a number, and then carried out; whoever finds it there after a crash carries it out again, and the
workflow id's owner recognises the request id made of that number. So no action is lost, and none is made twice.

The structs are arrays on disk: new fields go to the END and have a default.
"""

from __future__ import annotations

import msgspec
from temporalio.api.schedule.v1 import Schedule

from perdure.core.principal import ANONYMOUS, Principal

BUFFER_MAX = 1000
"""Starts that may wait for their turn."""
BACKFILLS_MAX = 1000
"""Backfills that may wait for their turn."""
RECENT_MAX = 10
"""Actions that are remembered."""
REQUESTS_MAX = 20
"""Request ids of changes that are remembered."""
OVERLAPPING_MAX = 100
"""Runs started beside others (ALLOW_ALL) that are watched until they end."""


class Start(msgspec.Struct, array_like=True):
    """A workflow that is to be started. Times in nanoseconds since the epoch."""

    nominal_ns: int
    """The time that it is named after."""
    actual_ns: int
    """When it was due: the nominal time and the jitter, or the time of the request."""
    overlap_policy: int
    """ScheduleOverlapPolicy; 0: what the schedule says when its turn comes."""
    manual: bool
    """Asked for by somebody: neither a pause nor the limit on actions concerns it."""
    number: int = 0
    """Given when it is to be carried out: unique within the schedule."""
    overlapping: bool = False
    """Beside whatever else is running (ALLOW_ALL)."""


class Running(msgspec.Struct, array_like=True):
    """A workflow that the schedule started and that has not ended, as far as is known."""

    workflow_id: str
    run_id: str
    """As it was started."""
    current_run_id: str
    """Where its chain of runs is now: it may have continued as new, or been retried."""
    overlapping: bool = False


class Action(msgspec.Struct, array_like=True):
    """A start that was made."""

    nominal_ns: int
    at_ns: int
    workflow_id: str
    run_id: str
    status: int
    """WorkflowExecutionStatus."""


class Backfill(msgspec.Struct, array_like=True):
    """A stretch of time whose actions are still to be made up for."""

    after_ns: int
    """Nominal times later than this, ..."""
    end_ns: int
    """... and actions up to and including this."""
    overlap_policy: int


class State(msgspec.Struct, array_like=True):
    """See the module's text."""

    uid: str
    """Of this schedule, not of the next one of that name."""
    schedule: bytes
    """Serialised `temporal.api.schedule.v1.Schedule` with a canonical specification."""
    created_at_ns: int
    processed_ns: int
    """Actions that were due up to here have been dealt with."""
    request_id: str = ""
    """Of its creation."""
    updated_at_ns: int = 0
    conflict_token: int = 1
    memo: bytes = b""
    search_attributes: bytes = b""
    buffer: list[Start] = []
    """Waiting for what is running, in order."""
    starting: list[Start] = []
    """To be carried out now."""
    backfills: list[Backfill] = []
    running: list[Running] = []
    recent: list[Action] = []
    """The newest last."""
    next_number: int = 1
    action_count: int = 0
    missed_catchup_window: int = 0
    overlap_skipped: int = 0
    buffer_dropped: int = 0
    last_result: bytes = b""
    """Serialised `Payloads` of the last run that completed."""
    last_failure: bytes = b""
    """Serialised `Failure`, when the last run to end failed."""
    requests: list[str] = []
    """Of the newest changes."""
    parked: str = ""
    """Why it cannot be carried out; it then does nothing until somebody changes it."""
    principal: Principal = ANONYMOUS
    """Who said last what it does, by making or updating it, and for whom it acts."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def encode(state: State) -> bytes:
    """What the record holds."""
    return _encoder.encode(state)


def decode(data: bytes) -> State:
    """Raises msgspec.DecodeError when the bytes are not such a state."""
    return _decoder.decode(data)


def park(state: State, reason: str) -> None:
    """Leave a schedule alone that cannot be carried out: it is paused, and says why."""
    schedule = Schedule.FromString(state.schedule)
    schedule.state.paused = True
    schedule.state.notes = f"cannot be carried out: {reason}"
    state.schedule = schedule.SerializeToString()
    state.parked = reason
    state.conflict_token += 1


def unreadable(reason: str) -> State:
    """What stands in lists for a schedule whose record cannot be read."""
    state = State("", b"", 0, 0)
    park(state, reason)
    return state
