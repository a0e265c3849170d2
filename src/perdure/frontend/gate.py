"""What every request is asked before its handler sees it: whether its numbers are numbers, and its maps not endless.

It stands before a handler as soon as the RPC's request has anything to ask about, so a new RPC has it too. Requests in
which nothing can be wrong (most of a worker's) do not pay for it. What a field may mean is the handler's to judge.
"""

from __future__ import annotations

from typing import Any

from perdure.api import bounds
from perdure.core.limits import Limits
from perdure.frontend.edge import invalid
from perdure.frontend.rpcs import SERVICES, Handler, method_name


def put_before(serving: object, service: str, limits: Limits) -> None:
    """Have the object that serves this service ask first."""
    for method in SERVICES[service].methods:
        name = method_name(method.name)
        handler: Handler | None = getattr(serving, name, None)
        if handler is not None and not bounds.is_free(method.input_type):
            setattr(serving, name, _asking(handler, limits.entries))


def _asking(handler: Handler, entries_max: int) -> Handler:
    def ask(request: Any) -> Any:
        try:
            bounds.check(request, entries_max)
        except bounds.OutOfBounds as fault:
            raise invalid(f"Invalid request: {fault}.") from fault
        return handler(request)

    return ask
