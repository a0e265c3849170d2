"""A connection whose other side may change while it is used.

Processes that share a store's file call its owner. When the owner goes, calls that were on their way to it fail as
those of any server that went away do. They are repeated here, for the next owner, as whoever made them would: a request
that changes something has an id by which it is known again. Calls that come while there is no owner wait for the next.
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
NOTICE_S = 0.25
"""So soon at the latest it is known that the other side has gone; if it has not, its refusal stands."""
SIDES_MAX = 10
"""A call that saw so many go is refused."""


class Relay:
    """Satisfies `Connection`, one method for each RPC: each goes to where `lead_to` said last."""

    def __init__(self) -> None:
        self._there: Connection | None = None
        self._why = "nobody is connected yet"
        self._arrival: asyncio.Future[Connection] | None = None
        self._departure: asyncio.Future[None] | None = None
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
        self._depart()
        arrival, self._arrival = self._arrival, None
        if arrival is not None and not arrival.done():
            arrival.set_result(there)

    def lead_nowhere(self, why: str) -> None:
        """Calls wait from now on; `why` is what those are told who waited in vain."""
        self._there = None
        self._why = why
        self._depart()

    def _depart(self) -> None:
        departure, self._departure = self._departure, None
        if departure is not None and not departure.done():
            departure.set_result(None)

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
            for _ in range(SIDES_MAX):
                there = self._there
                if there is None:
                    there = await self._wait()
                try:
                    return await getattr(there, name)(request)
                except Rejected as refusal:
                    if refusal.code is not StatusCode.UNAVAILABLE or not await self._has_left(there):
                        raise
            raise Rejected(StatusCode.UNAVAILABLE, f"{SIDES_MAX} processes went away while {name} was asked of them")

        rpc.__name__ = name
        return rpc

    async def _has_left(self, there: Connection) -> bool:
        """Whether calls go elsewhere now, or will in a moment."""
        if self._there is there:
            departure = self._departure
            if departure is None:
                departure = self._departure = asyncio.get_running_loop().create_future()
            await asyncio.wait((departure,), timeout=NOTICE_S)
        return self._there is not there

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
