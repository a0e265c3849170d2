"""gRPC's health service: `grpc.health.v1.Health` (https://github.com/grpc/grpc/blob/master/doc/health-checking.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from perdure.api.errors import Rejected, StatusCode

_LOOK_S = 1.0
"""How often it is looked for whoever watches."""


class Health:
    """Which services are served. A watcher is told now, when it changes, and when it ends."""

    NAME = "grpc.health.v1.Health"
    PREFIX = f"/{NAME}/"
    CHECK = f"/{NAME}/Check"
    WATCH = f"/{NAME}/Watch"

    def __init__(self, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready
        self._serving: set[str] = set()
        self._known: set[str] = set()
        self._stopped = asyncio.Event()

    def serve(self, names: Iterable[str]) -> None:
        """The named services are served from now on."""
        self._known = set(names)
        self._serving = set(self._known)

    def stop(self) -> None:
        """Nothing is served any more."""
        self._serving.clear()
        self._stopped.set()

    def _status(self, name: str) -> HealthCheckResponse:
        if name not in self._known:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        is_serving = name in self._serving and self._is_ready()
        return HealthCheckResponse(
            status=HealthCheckResponse.SERVING if is_serving else HealthCheckResponse.NOT_SERVING
        )

    async def check(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Check: the state now. Raises Rejected NOT_FOUND for a service that there is not."""
        async for data in requests:
            name = HealthCheckRequest.FromString(data).service
            if name not in self._known:
                raise Rejected(StatusCode.NOT_FOUND, "unknown service")
            yield self._status(name).SerializeToString()
            return

    async def watch(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Watch: the state now, and again when it changes."""
        async for data in requests:
            name = HealthCheckRequest.FromString(data).service
            told = self._status(name)
            yield told.SerializeToString()
            while not self._stopped.is_set():
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await self._stopped.wait()
                except TimeoutError:
                    pass  # it is time to look
                status = self._status(name)
                if status != told or self._stopped.is_set():
                    told = status
                    yield told.SerializeToString()
            return
