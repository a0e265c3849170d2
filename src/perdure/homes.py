"""Where an engine lives: near, as a store and an engine in this process, or far, behind gRPC.

`perdure.embedded` drives either through the same few names, so a program changes its URL and
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from urllib.parse import urlsplit

from perdure.engine.clock import Clock
from perdure.engine.config import EngineConfig
from perdure.engine.engine import Engine
from perdure.frontend.service import WorkflowService
from perdure.sdk.connection import Connection
from perdure.sdk.errors import EngineError
from perdure.stores.api import Store, StoreError
from perdure.stores.open import open_store

_FAR = ("grpc", "grpcs")


class Home(Protocol):
    """What answers the RPCs, between `open` and `close`, on one event loop."""

    @property
    def rpcs(self) -> Connection: ...

    async def open(self) -> None:
        """Raises StoreError: the store cannot be opened."""
        ...

    async def close(self) -> None:
        """Release everything. Idempotent."""
        ...


class NearHome:
    """A store and the engine over it, in this process.

    Args:
        store: not opened yet.
        clock: default the machine's.
        new_id: makes run ids and the like; default UUIDs of version 7.
        config: bounds.
    """

    def __init__(
        self, store: Store, clock: Clock | None, new_id: Callable[[], str] | None, config: EngineConfig
    ) -> None:
        self.store = store
        self.engine = Engine(store, clock, new_id, config)
        self.rpcs: Connection = WorkflowService(self.engine)

    async def open(self) -> None:
        await self.engine.start()

    async def close(self) -> None:
        await self.engine.stop()


def is_far(url: str) -> bool:
    """Whether a URL names a server rather than a store."""
    return urlsplit(url).scheme in _FAR


def far_home(url: str) -> Home:
    """The server at `grpc://host:port` (`grpcs://` for TLS).

    Raises:
        EngineError: the extra that speaks gRPC is not installed.
        StoreError: the URL is not understood.
    """
    try:
        from perdure.sdk.connection_grpc import GrpcConnection
    except ImportError as error:
        raise EngineError(f"{url!r} needs gRPC ({error.name} is missing): pip install 'perdure[grpc]'") from error
    try:
        return GrpcConnection(url)
    except ValueError as error:
        raise StoreError(str(error)) from error


def near_home(
    url: str, store: Store | None, clock: Clock | None, new_id: Callable[[], str] | None, config: EngineConfig
) -> NearHome:
    """An engine over `store`, or over the one that the URL names. Raises StoreError: the URL is not understood."""
    return NearHome(store or open_store(url), clock, new_id, config)
