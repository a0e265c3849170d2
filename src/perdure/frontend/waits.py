"""How long a call may wait, and what becomes of its answer when its caller has left.

A transport that knows its caller says so before it calls a handler; the handler asks here. An empty
answer in time is worth more than a deadline exceeded: the client asks again at once, and no task is
handed to somebody who has just left.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple, Protocol

from perdure.api.errors import Rejected, StatusCode

MARGIN_S = 1.0
"""An answer is on its way so long before the caller's deadline, as Temporal's server does it."""
POLL_S_MIN = 2.0
"""A poll with less time than this is refused: it would only go round and round."""


class Delivery(Protocol):
    """An answer that is to be sent."""

    undelivered: Callable[[], None] | None
    """Called when it did not leave this process."""


class Caller(NamedTuple):
    """Who waits for the answer of the call that is being handled."""

    time_left_s: float | None
    """None: it never gives up."""
    delivery: Delivery


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)

set_caller = _caller.set
"""Said by a transport for the task that it is about to make."""


def bounded(wait_ns: int) -> float:
    """The wait in seconds, ended before the caller's deadline."""
    wait_s = wait_ns / 1e9
    caller = _caller.get()
    left_s = None if caller is None else caller.time_left_s
    return wait_s if left_s is None or left_s - MARGIN_S >= wait_s else max(left_s - MARGIN_S, 0.0)


def bounded_poll(wait_ns: int) -> float:
    """As `bounded`, for the polls of workers. Raises Rejected FAILED_PRECONDITION when there is hardly time at all."""
    caller = _caller.get()
    if caller is not None and caller.time_left_s is not None and caller.time_left_s < POLL_S_MIN:
        raise Rejected(StatusCode.FAILED_PRECONDITION, "Context timeout is too short.")
    return bounded(wait_ns)


def if_undelivered(undo: Callable[[], None]) -> None:
    """Call `undo` if the answer that this call is about to give cannot be sent."""
    caller = _caller.get()
    if caller is not None:
        caller.delivery.undelivered = undo
