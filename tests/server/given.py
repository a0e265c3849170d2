"""A server on a free port, and a client that speaks bare gRPC: nothing of an SDK stands between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from grpc import aio

from perdure.engine.matching.task_queue import Poll
from perdure.engine.node.config import EngineConfig
from perdure.frontend.calls import Interceptor
from perdure.frontend.grpc.transport import Transport
from perdure.frontend.rpcs import WORKFLOW_SERVICE, rpcs
from perdure.frontend.server.server import Server, ServerConfig
from perdure.stores.memory import MemoryStore
from tests.server.wire import Wire

Detail = TypeVar("Detail", bound=Message)

FREE = "127.0.0.1:0"
_RPCS = {(rpc.service, rpc.name): rpc for rpc in rpcs({})}


def _bytes_of(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


class Client:
    """Calls RPCs by name."""

    def __init__(self, address: str) -> None:
        self.channel = aio.insecure_channel(address)

    def call(self, name: str, request: Message | bytes, *, service: str = WORKFLOW_SERVICE, **options: Any) -> Any:
        """The call, to be awaited for its response; it raises `aio.AioRpcError`. Bytes go as they are."""
        rpc = _RPCS[service, name]
        stub: Any = self.channel.unary_unary(
            rpc.path,
            request_serializer=_bytes_of,
            response_deserializer=rpc.response.FromString,
        )
        return stub(request, **options)

    async def refusal(self, name: str, request: Message | bytes, **options: Any) -> aio.AioRpcError:
        """The error of a call that must fail."""
        try:
            response = await self.call(name, request, **options)
        except aio.AioRpcError as error:
            return error
        raise AssertionError(f"{name} was answered: {response}")


def details(error: aio.AioRpcError) -> Status:
    """The `google.rpc.Status` that came with an error."""
    metadata: Any = error.trailing_metadata()
    return Status.FromString(dict(metadata)["grpc-status-details-bin"])


def detail(error: aio.AioRpcError, kind: type[Detail]) -> Detail:
    """The first detail of an error, which must be of this kind."""
    message = kind()
    assert details(error).details[0].Unpack(message), details(error)
    return message


class World:
    """A server that is ready, and clients of it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.engine = server.engine
        self.client = self.another_client()
        self._wires: list[Wire] = []

    async def wire(self, settings: dict[int, int] | None = None) -> Wire:
        """A connection that is written to by hand, closed at the end."""
        self._wires.append(await Wire.open(self.server.address, settings))
        return self._wires[-1]

    async def close(self) -> None:
        """Close what was opened."""
        await self.client.channel.close()
        for wire in self._wires:
            wire.writer.close()

    @property
    def transport(self) -> Transport:
        """What listens."""
        transport = self.server.transport
        assert transport is not None
        return transport

    def polls(self) -> list[Poll]:
        """Those that wait."""
        return [poller for poller in self.engine.matching.waiting_polls() if isinstance(poller, Poll)]

    def another_client(self) -> Client:
        """One with a connection of its own."""
        return Client(self.server.address)


def served(
    test: Callable[[World], Coroutine[Any, Any, None]] | None = None,
    interceptors: Sequence[Interceptor] = (),
    **settings: Any,
) -> Any:
    """Run an async test beside a server with these settings of its engine, on a store in memory."""

    def decorate(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        async def serve() -> None:
            config = ServerConfig(
                address="127.0.0.1:0", http_address="127.0.0.1:0", drain_ns=0, engine=EngineConfig(**settings)
            )
            server = Server(MemoryStore(), config, interceptors)
            await server.start()
            world = World(server)
            try:
                await test(world)
            finally:
                await world.close()
                await server.stop()

        def run() -> None:
            asyncio.run(serve())

        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        return run

    return decorate if test is None else decorate(test)


CODE = grpc.StatusCode
