"""The way to a server of which only the URL is known, and gRPC's library perhaps not there."""

from __future__ import annotations

from typing import Protocol

from perdure.sdk.connection.protocol import Connection
from perdure.sdk.errors import EngineError


class FarConnection(Protocol):
    """A connection that is opened and closed on the event loop which uses it."""

    @property
    def rpcs(self) -> Connection:
        """The RPCs, between `open` and `close`."""
        ...

    async def open(self) -> None:
        """Whether the server is there shows with the first call."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...


def far_connection(url: str) -> FarConnection:
    """A connection, still to be opened. Raises EngineError without gRPC; ValueError for a URL that is no server's."""
    try:
        from perdure.sdk.connection.grpc import GrpcConnection
    except ImportError as error:
        raise EngineError(f"{url!r} needs gRPC ({error.name} is missing): pip install 'perdure[grpc]'") from error
    return GrpcConnection(url)
