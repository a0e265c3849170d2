"""How a run ended that a schedule has started, or in which run its chain goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from perdure.core.close import next_run_id
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.core.schedule import requests
from perdure.engine.deciding.histories import Histories

Read = Callable[[str, str, str | None, Callable[[Execution | None], Any]], "asyncio.Future[Any]"]
"""`Engine.read`."""
Outcome = tuple[int, bytes, bytes, str]
"""Status, result, failure and its message."""
UNKNOWN: Outcome = (0, b"", b"", "")
"""The run is gone, or how it ended cannot be read."""


class _End(msgspec.Struct, frozen=True):
    """Where a run stands that has closed."""

    key: ExecutionKey
    status: int
    last_event_id: int


async def ending(
    read: Read, histories: Histories, namespace: str, workflow_id: str, run_id: str
) -> Outcome | str | None:
    """The outcome of a run, or the next run of its chain; None: it has not ended. Raises Rejected."""
    end = await read(namespace, workflow_id, run_id, _look_at)
    if not isinstance(end, _End):
        return None if end else UNKNOWN
    event = await histories.event(end.key, end.last_event_id)
    return next_run_id(event) or (end.status, *requests.outcome(event))


def _look_at(execution: Execution | None) -> _End | bool:
    """The end of a run; True: it is open, False: it is gone."""
    if execution is None or execution.closed_at_ns is None:
        return execution is not None
    return _End(execution.key, execution.status, execution.next_event_id - 1)
