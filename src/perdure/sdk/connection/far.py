"""The way to a server of which only the URL is known, and gRPC's library perhaps not there."""

from __future__ import annotations

from typing import Protocol

from perdure.sdk.connection.protocol import Connection
from perdure.sdk.connection.tls import TLSConfig, checked_tls
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


def far_connection(
    url: str, *, tls: TLSConfig | None = None, api_key: str | None = None, namespace: str = ""
) -> FarConnection:
    """A connection, still to be opened.

    Raises EngineError without gRPC, or for a certificate that cannot be read; ValueError for a URL that is no server's,
    and for TLS or a key that do not fit it.
    """
    tls, api_key = checked_tls(url, tls, api_key)
    try:
        from perdure.sdk.connection.grpc import GrpcConnection
    except ImportError as error:
        raise EngineError(f"{url!r} needs gRPC ({error.name} is missing): pip install 'perdure[grpc]'") from error
    metadata: dict[str, str] = {}
    if api_key is not None:
        metadata["authorization"] = f"Bearer {api_key}"
        # Temporal Cloud has one endpoint for many, and does not look into requests for the namespace.
        metadata["temporal-namespace"] = namespace
    return GrpcConnection(url, metadata=metadata, tls=tls)
