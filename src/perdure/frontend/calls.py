"""One call of an RPC, apart from its request: who asks, in which namespace, until when, under which limits and trace.

A `Call` is made once: by the transport from the headers, by `chain.Chain` for somebody in this process, and for a
schedule or a batch that acts in the name of who made it. It passes the interceptors and is handed to the handler.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from perdure.api.errors import Rejected, StatusCode
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.principal import ANONYMOUS, Principal
from perdure.core.tokens import TaskToken
from perdure.engine.matching.query_task import QueryToken

MARGIN_S = 1.0
"""An answer is on its way so long before the caller's deadline, as Temporal's server does it."""
POLL_S_MIN = 2.0
"""A poll with less time than this is refused: it would only go round and round."""


class Origin(StrEnum):
    """Where a call comes from."""

    NEAR = "near"
    """This process."""
    FAR = "far"
    """A client of a transport."""
    RECORD = "record"
    """A schedule or a batch operation, for the principal that made it."""


class Delivery(Protocol):
    """An answer that is to be sent."""

    undelivered: Callable[[], None] | None
    """Called when it did not leave this process."""


class Call(msgspec.Struct, eq=False):
    """See the module's text. The first eight are said by whoever makes it, the others by the chain."""

    rpc: str
    """The RPC's name, such as `StartWorkflowExecution`."""
    origin: Origin = Origin.NEAR
    principal: Principal = ANONYMOUS
    """Anonymous until an authenticator, an interceptor, says who it is."""
    deadline: float | None = None
    """By `time.monotonic`, in seconds. None: the caller never gives up."""
    delivery: Delivery | None = None
    authorization: str = ""
    """That header as it came, for an authenticator. Never stored, never logged."""
    trace: Trace | None = None
    subject: str = ""
    """Of the certificate that the client showed and somebody we trust has signed, as RFC 4514 writes it; "": none."""

    namespace: str = ""
    """That the request is for: its own field, or its token's; "" for what is of the server as a whole."""
    namespaces: tuple[str, ...] = ()
    """All that the request reaches, its own first (`reach.namespaces_of`). Said for interceptors alone."""
    limits: Limits = DEFAULT_LIMITS
    """What the namespace holds a request to; core holds runs to the same."""
    token: TaskToken | QueryToken | None = None
    """Of a request that answers a task."""
    answer: Callable[[Any, Call], Any] | None = None
    """The handler, for the end of the chain."""

    def bounded(self, wait_ns: int) -> float:
        """The wait in seconds, ended before the caller's deadline.

        An empty answer in time is worth more than a deadline exceeded: the client asks again at once, and no task is
        handed to somebody who has just left.
        """
        wait_s = wait_ns / 1e9
        if self.deadline is None:
            return wait_s
        left_s = self.deadline - time.monotonic() - MARGIN_S
        return wait_s if left_s >= wait_s else max(left_s, 0.0)

    def bounded_poll(self, wait_ns: int) -> float:
        """As `bounded`, for the polls of workers.

        Raises Rejected FAILED_PRECONDITION when there is hardly time at all.
        """
        if self.deadline is not None and self.deadline - time.monotonic() < POLL_S_MIN:
            raise Rejected(StatusCode.FAILED_PRECONDITION, "Context timeout is too short.")
        return self.bounded(wait_ns)

    def if_undelivered(self, undo: Callable[[], None]) -> None:
        """Call `undo` if the answer that this call is about to give cannot be sent."""
        if self.delivery is not None:
            self.delivery.undelivered = undo


class Trace(msgspec.Struct, frozen=True):
    """Headers by which a call is found again in other systems."""

    traceparent: str = ""
    """W3C Trace Context."""
    request_id: str = ""
    """`x-request-id`: of a proxy, or of the client."""


Handler = Callable[[Any, Call], Awaitable[Any]]
"""Answers the request of one RPC. Raises Rejected."""
Proceed = Callable[[Call, Any], Awaitable[Any]]
"""The rest of the chain, down to the handler."""
Interceptor = Callable[[Call, Any, Proceed], Awaitable[Any]]
"""`async def intercept(call, request, proceed)`: returns what `await proceed(call, request)` does, or refuses by
raising Rejected. May change the call (who asks) before, and look at the response after."""
