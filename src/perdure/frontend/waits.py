"""How long a call may wait: as long as the engine says, or until shortly before its caller gives up.

A transport that knows the caller's deadline says so before it calls a handler; the handler asks here.
An empty answer in time is worth more than a deadline exceeded: the client asks again at once, and no
task is handed to somebody who has just left.
"""

from __future__ import annotations

from contextvars import ContextVar

from perdure.api.errors import Rejected, StatusCode

MARGIN_S = 1.0
"""An answer is on its way so long before the caller's deadline, as Temporal's server does it."""
POLL_S_MIN = 2.0
"""A poll with less time than this is refused: it would only go round and round."""

_time_left_s: ContextVar[float | None] = ContextVar("time_left_s", default=None)

set_time_left = _time_left_s.set
"""Said by a transport, in the task of the call: seconds until the caller gives up, None: it never does."""


def bounded(wait_ns: int) -> float:
    """The wait in seconds, ended before the caller's deadline."""
    wait_s = wait_ns / 1e9
    left_s = _time_left_s.get()
    return wait_s if left_s is None or left_s - MARGIN_S >= wait_s else max(left_s - MARGIN_S, 0.0)


def bounded_poll(wait_ns: int) -> float:
    """As `bounded`, for the polls of workers. Raises Rejected FAILED_PRECONDITION when there is hardly time at all."""
    left_s = _time_left_s.get()
    if left_s is not None and left_s < POLL_S_MIN:
        raise Rejected(StatusCode.FAILED_PRECONDITION, "Context timeout is too short.")
    return bounded(wait_ns)
