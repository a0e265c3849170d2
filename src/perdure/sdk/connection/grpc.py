"""A far server: the RPCs of Temporal's workflow service, and of its operator service, over gRPC.

`Engine("grpc://host:7233")` uses it, against `perdure server` or any other server of that API. The
rest of the SDK does not know: requests go out and answers come back as the same messages, and a
status that is not OK becomes the same `Rejected` that an engine in this process would raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status
from temporalio.api.errordetails import v1 as errordetails
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.connection.rpcs import SERVICES, method_name
from perdure.sdk.connection.tls import TLSConfig, pem_of

DEFAULT_PORT = 7233
DEADLINE_S = 30.0
WAITING_DEADLINE_S = 70.0
"""For RPCs that wait at the server, which ends them after some 20 or 60 seconds by itself."""
MESSAGE_BYTES_MAX = 128 << 20
"""Of an answer: a page of history with large payloads. Requests are bounded by the server."""

_WAITING = frozenset(
    {
        "PollWorkflowTaskQueue",
        "PollActivityTaskQueue",
        "QueryWorkflow",
        "UpdateWorkflowExecution",
        "PollWorkflowExecutionUpdate",
        "ExecuteMultiOperation",
    }
)
_OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 15_000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    # One channel is one TCP connection of its own, so that an engine's polls share no window with another's.
    ("grpc.use_local_subchannel_pool", 1),
]
_METADATA = (("client-name", "perdure-python"), ("client-version", "1.0.0"))
_DETAILS = "grpc-status-details-bin"

Call = Callable[..., Awaitable[Any]]


def parse_target(url: str) -> tuple[str, bool]:
    """`host:port` and whether to use TLS, of `grpc://host[:port]` or `grpcs://host[:port]`; `unix:/path` is itself.

    Raises ValueError that says what would be right.
    """
    if url.startswith("unix:"):
        return url, False
    parts = urlsplit(url)
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise ValueError(f"the server URL {url!r} is not understood: {error}") from error
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("grpc", "grpcs") or not parts.hostname or extra:
        raise ValueError(f"the server URL {url!r} is not understood: write `grpc://host:7233`, or `grpcs://` for TLS")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}", parts.scheme == "grpcs"


class GrpcConnection:
    """Satisfies `Connection`, one method for each RPC of the service; `open` it on the event loop that will use it.

    Args:
        url: `grpc://host[:port]`, `grpcs://…` for TLS with the system's certificates, or `unix:/path` of a socket.
        metadata: sent with every call, such as {"authorization": "Bearer …"}.
        tls: whom to trust and what to show, with `grpcs://`.

    Raises ValueError for a URL that cannot be; EngineError for a certificate that cannot be read.
    """

    def __init__(self, url: str, *, metadata: Mapping[str, str] | None = None, tls: TLSConfig | None = None) -> None:
        self.target, is_tls = parse_target(url)
        self._credentials = _credentials(tls or TLSConfig()) if is_tls else None
        self._options = _OPTIONS
        if tls is not None and tls.domain:
            self._options = [*_OPTIONS, ("grpc.ssl_target_name_override", tls.domain)]
        self._metadata = (*_METADATA, *(metadata or {}).items())
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Call] = {}
        for service in SERVICES:
            for method in service.methods:
                setattr(self, method_name(method.name), self._rpc(method.name))

    @property
    def rpcs(self) -> Connection:
        """This connection, as the rest of the SDK takes it."""
        return cast("Connection", self)

    async def open(self) -> None:
        """Make the channel; whether the server is there shows with the first call."""
        if self._credentials is not None:
            channel = grpc.aio.secure_channel(self.target, self._credentials, options=self._options)
        else:
            channel = grpc.aio.insecure_channel(self.target, options=self._options)
        for name, method in [(each.full_name, method) for each in SERVICES for method in each.methods]:
            # grpc's annotations stop short of its asyncio side.
            self._calls[method.name] = cast("Any", channel).unary_unary(
                f"/{name}/{method.name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
        self._channel = channel

    async def is_there(self, limit_s: float) -> bool:
        """Whether the other side says hello within the limit, in seconds."""
        assert self._channel is not None, "it was opened"
        try:
            async with asyncio.timeout(limit_s):
                await self._channel.channel_ready()
        except TimeoutError:
            return False
        return True

    async def lost(self) -> None:
        """Wait until the other side, which was there, has gone; a connection that nobody used for long goes as well."""
        channel = self._channel
        while channel is not None and channel.get_state() is grpc.ChannelConnectivity.READY:
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)

    async def close(self) -> None:
        """End every call and the connection. Idempotent."""
        channel, self._channel = self._channel, None
        self._calls.clear()
        if channel is not None:
            await channel.close()

    def _rpc(self, name: str) -> Call:
        waits = name in _WAITING

        async def rpc(request: Message) -> Message:
            call = self._calls.get(name)
            if call is None:
                raise Rejected(StatusCode.UNAVAILABLE, f"the connection to {self.target} is not open")
            waiting = waits or (isinstance(request, GetWorkflowExecutionHistoryRequest) and request.wait_new_event)
            deadline_s = WAITING_DEADLINE_S if waiting else DEADLINE_S
            try:
                return await call(request, timeout=deadline_s, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                raise rejected_of(error, f"{name} at {self.target}") from None
            except asyncio.CancelledError:
                asking = asyncio.current_task()
                if self._channel is not None or asking is None or asking.cancelling():
                    raise
                # Closing the channel cancels its calls; nobody has cancelled the task that waits for this one.
                raise Rejected(StatusCode.UNAVAILABLE, f"the connection to {self.target} was closed") from None

        rpc.__name__ = name
        return rpc


def _credentials(tls: TLSConfig) -> grpc.ChannelCredentials:
    """Raises EngineError."""
    return grpc.ssl_channel_credentials(
        pem_of(tls.server_root_ca_cert, "server_root_ca_cert"),
        pem_of(tls.client_private_key, "client_private_key"),
        pem_of(tls.client_cert, "client_cert"),
    )


def rejected_of(error: grpc.aio.AioRpcError, what: str) -> Rejected:
    """The refusal that a status other than OK tells of, with the first detail that we know."""
    code = StatusCode[error.code().name]
    text = error.details() or what
    if code in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
        text = f"{text} ({what})"
    return Rejected(code, text, detail_of(error.trailing_metadata() or ()))


def detail_of(metadata: Iterable[tuple[str, str | bytes]]) -> Message | None:
    """The first detail of `grpc-status-details-bin` whose type is known; None without one."""
    for key, value in metadata:
        if key != _DETAILS:
            continue
        try:
            status = Status.FromString(value if isinstance(value, bytes) else value.encode())
            return next((found for found in map(_unpacked, status.details) if found is not None), None)
        except DecodeError:
            return None  # the code and the text stand for themselves
    return None


def _unpacked(packed: AnyMessage) -> Message | None:
    kind = getattr(errordetails, packed.TypeName().rpartition(".")[2], None)
    if kind is None:
        return None
    message: Message = kind()
    return message if packed.Unpack(message) else None
