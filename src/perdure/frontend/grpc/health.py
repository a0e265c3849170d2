"""gRPC's health service: `grpc.health.v1.Health` (https://github.com/grpc/grpc/blob/master/doc/health-checking.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from perdure.api.errors import Rejected, StatusCode


class Health:
    """Which services are served. A watcher is told now and when it ends."""

    NAME = "grpc.health.v1.Health"
    CHECK = f"/{NAME}/Check"
    WATCH = f"/{NAME}/Watch"

    def __init__(self) -> None:
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
        is_serving = name in self._serving
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
            yield self._status(name).SerializeToString()
            await self._stopped.wait()
            yield self._status(name).SerializeToString()
            return
