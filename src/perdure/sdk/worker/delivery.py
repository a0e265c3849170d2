"""Sending outcomes: a finished piece of work is not lost because the server was busy.

While the server is unavailable or overloaded an answer is sent again, with growing pauses, for as
long as this worker lives. An answer that the server does not want (the attempt timed out, the
workflow was terminated) is dropped with a log line: the server has already decided without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from perdure.api.errors import Rejected, StatusCode

Request = TypeVar("Request")
Response = TypeVar("Response")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0

TRANSIENT = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.ABORTED,
        StatusCode.UNKNOWN,
    }
)
"""Answers that say "perhaps later" (Temporal's clients retry these)."""

logger = logging.getLogger("perdure.worker")


class Pauses:
    """Growing pauses between tries: 50 ms, doubling, to 5 s."""

    __slots__ = ("_next_s",)

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S

    async def wait(self) -> None:
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s)


async def deliver(
    send: Callable[[Request], Awaitable[Response]], request: Request, what: Callable[[], str]
) -> Response | None:
    """Send until the server has it; None when the server does not want it any more.

    Args:
        what: names the answer in the log; called only if something is logged.

    Raises:
        Rejected: the server refuses it for good (INVALID_ARGUMENT, …).
    """
    pauses: Pauses | None = None
    while True:
        try:
            return await send(request)
        except Rejected as rejected:
            if rejected.code == StatusCode.NOT_FOUND:
                logger.info("%s came too late and is dropped: %s", what(), rejected.message)
                return None
            if rejected.code not in TRANSIENT:
                raise
            if pauses is None:
                pauses = Pauses()
                logger.warning("%s could not be delivered, trying again: %s", what(), rejected.message)
        await pauses.wait()
