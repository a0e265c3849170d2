"""gRPC, on asyncio: every RPC of the API as one handler, the health service and reflection.

A handler takes bytes and gives bytes. It parses and serialises itself, so that a request that is no
protobuf message gets the code that Temporal's server gives it, and there is nothing between the wire
and the method: no interceptor, no second coroutine.

A client that cancels, or whose deadline passes, cancels the handler's task where it waits. A poll
that is cancelled takes no task with it (`perdure.engine.matching`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio
from grpc_health.v1 import health, health_pb2
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from perdure.api.errors import Rejected
from perdure.frontend.server.rpcs import SERVICES, Rpc, rpcs
from perdure.frontend.server.status import DETAILS, short_message, status_details
from perdure.frontend.waits import set_time_left

_log = logging.getLogger(__name__)

MESSAGE_BYTES_MAX = 4 << 20
"""Of a request on the wire, as Temporal's server has it."""
PING_INTERVAL_MS_MIN = 5_000
"""Clients ping every 30 s, also while they have no call open."""

WAITING = frozenset(
    {
        *("PollWorkflowTaskQueue", "PollActivityTaskQueue", "PollNexusTaskQueue", "GetWorkflowExecutionHistory"),
        *("UpdateWorkflowExecution", "PollWorkflowExecutionUpdate", "ExecuteMultiOperation"),
        *("PollActivityExecution", "PollNexusOperationExecution"),
    }
)
"""RPCs that wait for something, and so want to know how long their caller does."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_Context = aio.ServicerContext[Any, Any]


@dataclass(slots=True)
class Counts:
    """What was asked since the start, by RPC; and what was refused, by RPC and status code."""

    calls: dict[str, int] = field(default_factory=dict[str, int])
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])


class Transport:
    """The gRPC server of one process. `objects` serve the RPCs, by full service name."""

    def __init__(self, objects: Mapping[str, object]) -> None:
        self.counts = Counts()
        self._server = aio.server(options=_options())
        self._health = health.aio.HealthServicer()
        by_service: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {name: {} for name in SERVICES}
        for rpc in rpcs(objects):
            by_service[rpc.service][rpc.name] = grpc.unary_unary_rpc_method_handler(_handler(rpc, self.counts))
        self._server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, handlers) for name, handlers in by_service.items())
        )
        add_HealthServicer_to_server(self._health, self._server)
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self, address: str) -> str:
        """Listen on `host:port`. Returns it with the port that was taken. Raises OSError when that is not free."""
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        await self._server.start()
        for name in ("", *SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return f"{address.rpartition(':')[0]}:{port}"

    async def stop(self, grace_s: float, send_away: Callable[[], Awaitable[None]]) -> None:
        """Refuse new calls, `send_away` those who wait, let the others end within `grace_s`, cut the rest off."""
        await self._health.enter_graceful_shutdown()
        ending = asyncio.ensure_future(self._server.stop(grace_s))
        await asyncio.sleep(0)  # it has begun: whoever is sent away does not get in again
        await send_away()
        await ending


def _options() -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", -1),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MS_MIN),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MS_MIN),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.so_reuseport", 0),
    ]


def _handler(rpc: Rpc, counts: Counts) -> Any:
    """What gRPC calls with the bytes of a request."""
    method = rpc.handler
    if method is None:
        return _unimplemented(rpc)
    calls = counts.calls
    name = rpc.name
    calls[name] = 0
    parse = rpc.request.FromString
    waits = rpc.name in WAITING

    async def call(data: bytes, context: _Context) -> bytes:
        calls[name] += 1
        try:
            request = parse(data)
        except DecodeError as error:
            await context.abort(grpc.StatusCode.INTERNAL, f"grpc: error unmarshalling request: {error}")
        if waits:
            set_time_left(context.time_remaining())
        try:
            response: Message = await method(request)
            return response.SerializeToString()
        except Rejected as error:
            counts.refusals[name, error.code.name] += 1
            await _refuse(context, error)
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("%s failed", rpc.name)
            await context.abort(grpc.StatusCode.INTERNAL, f"{rpc.name} failed; the server's log says why.")

    return call


def _unimplemented(rpc: Rpc) -> Any:
    async def refuse(data: bytes, context: _Context) -> bytes:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{rpc.service}/{rpc.name} is not implemented.")

    return refuse


async def _refuse(context: _Context, error: Rejected) -> NoReturn:
    code = _CODES[int(error.code)]
    detail = error.detail
    trailers = () if detail is None else ((DETAILS, status_details(error, detail)),)
    await context.abort(code, short_message(error), trailers)
