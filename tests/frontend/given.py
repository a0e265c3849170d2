"""Interceptors for tests of the chain."""

from __future__ import annotations

from typing import Any

from perdure.api.errors import Rejected, StatusCode
from perdure.frontend.calls import Call, Proceed


class Witness:
    """Sees every call, and lets it pass; but refuses those of an RPC, or of a principal's name, that it was told."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)
        self.calls: list[Call] = []
        self.answers: list[Any] = []

    async def __call__(self, call: Call, request: Any, proceed: Proceed) -> Any:
        self.calls.append(call)
        if self.refused & {call.rpc, call.principal.name}:
            raise Rejected(StatusCode.PERMISSION_DENIED, "Request unauthorized.")
        answer = await proceed(call, request)
        self.answers.append(answer)
        return answer

    def of(self, rpc: str) -> list[Call]:
        """The calls of an RPC."""
        return [call for call in self.calls if call.rpc == rpc]
