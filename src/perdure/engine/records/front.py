"""The front door, as seen from inside: what acts later in somebody's name goes out and comes in again by it.

A schedule starts a workflow at night, a batch operation cancels a thousand; who made them may do so, or may not any
more. So what they do passes what a call of their maker's would (`perdure.frontend.chain`), with the principal that
their record keeps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.api.workflowservice.v1 import StartBatchOperationRequest

from perdure.core.principal import Principal

Perform = Callable[[Principal, StartBatchOperationRequest, str, str, str], Awaitable[None]]
"""Does for a principal what the request says to (workflow id, run id), under a request id. Raises Rejected."""
Act = Callable[[Any], Awaitable[Any]]
"""Does what a request says."""
Let = Callable[[Principal, str, Any, Act], Awaitable[Any]]
"""Asks whether the principal may do this RPC's request, and has it done. Raises Rejected."""


class Front:
    """What stands before one engine."""

    def __init__(self) -> None:
        self.perform: Perform | None = None
        """What one operation of a batch is; without it batches wait."""
        self.let: Let | None = None
        """None: there is nobody to ask."""
        self._checks: object = None

    def put(self, checks: object, perform: Perform, let: Let | None) -> None:
        """Have records act through this door. The same checks again are the same door.

        Raises RuntimeError for others: what one door refuses would be done through the other, by whichever was put
        there last.
        """
        if self.perform is not None and checks != self._checks:
            raise RuntimeError("There is another front before this engine, with other interceptors.")
        if self.perform is None:
            self._checks, self.perform, self.let = checks, perform, let

    async def act(self, principal: Principal, rpc: str, request: Any, act: Act) -> Any:
        """Have `act(request)` done for the principal, as this RPC would. Raises Rejected."""
        if self.let is None:
            return await act(request)
        return await self.let(principal, rpc, request, act)
