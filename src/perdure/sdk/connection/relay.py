"""A connection whose other side may change while it is used.

Processes that share a store's file call its owner. When the owner goes, its calls fail as those of any server that went
away do, and are repeated by whoever made them; calls that come while there is no owner wait here for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from google.protobuf.message import Message

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.connection.rpcs import SERVICES, method_name

WAIT_S = 5.0
"""How long a call waits for another side, before it is refused: its caller then decides whether to ask again."""


class Relay:
    """Satisfies `Connection`, one method for each RPC: each goes to where `lead_to` said last."""

    def __init__(self) -> None:
        self._there: Connection | None = None
        self._why = "nobody is connected yet"
        self._arrival: asyncio.Future[Connection] | None = None
        self._has_ended = False
        for service in SERVICES:
            for method in service.methods:
                name = method_name(method.name)
                setattr(self, name, self._rpc(name))

    @property
    def rpcs(self) -> Connection:
        """The relay, as the rest of the SDK takes it."""
        return cast("Connection", self)

    def lead_to(self, there: Connection) -> None:
        """Calls go there from now on, and those that wait go on."""
        self._there = there
        arrival, self._arrival = self._arrival, None
        if arrival is not None and not arrival.done():
            arrival.set_result(there)

    def lead_nowhere(self, why: str) -> None:
        """Calls wait from now on; `why` is what those are told who waited in vain."""
        self._there = None
        self._why = why

    def end(self, why: str) -> None:
        """There will be no other side any more: calls are refused."""
        self.lead_nowhere(why)
        self._has_ended = True
        arrival, self._arrival = self._arrival, None
        if arrival is not None and not arrival.done():
            arrival.set_exception(Rejected(StatusCode.UNAVAILABLE, why))
            arrival.exception()  # whoever waits raises it; perhaps nobody does

    def _rpc(self, name: str) -> Callable[[Message], Any]:
        async def rpc(request: Message) -> Message:
            there = self._there
            if there is None:
                there = await self._wait()
            return await getattr(there, name)(request)

        rpc.__name__ = name
        return rpc

    async def _wait(self) -> Connection:
        arrival = self._arrival
        if self._has_ended:
            raise Rejected(StatusCode.UNAVAILABLE, self._why)
        if arrival is None:
            arrival = self._arrival = asyncio.get_running_loop().create_future()
        await asyncio.wait((arrival,), timeout=WAIT_S)
        if not arrival.done():
            raise Rejected(StatusCode.UNAVAILABLE, self._why)
        return arrival.result()
