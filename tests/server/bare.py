"""A transport without an engine, for what happens on the wire alone: it answers at once, or lets polls wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.api.workflowservice import v1 as service

from perdure.frontend.calls import Call
from perdure.frontend.grpc.transport import Transport
from perdure.frontend.rpcs import WORKFLOW_SERVICE
from tests.server.given import FREE
from tests.server.wire import Wire


class Bare:
    """What listens, and how to reach it."""

    def __init__(self) -> None:
        self.transport = Transport({WORKFLOW_SERVICE: self})
        self.address = ""
        self._wires: list[Wire] = []
        self.polls = 0
        """Those that wait now."""

    async def get_system_info(self, request: service.GetSystemInfoRequest, call: Call) -> service.GetSystemInfoResponse:
        return service.GetSystemInfoResponse(server_version="bare")

    async def poll_workflow_task_queue(
        self, request: service.PollWorkflowTaskQueueRequest, call: Call
    ) -> service.PollWorkflowTaskQueueResponse:
        self.polls += 1
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.polls -= 1

    async def wire(self, *, greets: bool = True) -> Wire:
        """A connection, closed at the end. One that does not greet has said nothing yet."""
        if greets:
            wire = await Wire.open(self.address)
        else:
            host, _, port = self.address.rpartition(":")
            wire = Wire(*await asyncio.open_connection(host, int(port)))
        self._wires.append(wire)
        return wire

    async def close(self) -> None:
        for wire in self._wires:
            wire.writer.close()
        await self.transport.stop(0, _nobody_waits)


async def _nobody_waits() -> None:
    """Polls need not be sent away: their connections end."""


@asynccontextmanager
async def bare() -> AsyncIterator[Bare]:
    """One that listens."""
    here = Bare()
    here.address = await here.transport.start(FREE)
    try:
        yield here
    finally:
        await here.close()
