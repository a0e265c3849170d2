"""gRPC over HTTP/2 on asyncio: listens, starts calls, answers them.

Calls are started one connection after another in turn, a few at a time, so that a client with ten
thousand of them waiting delays another client's by one. There is one task per call and nothing
between the wire and the method. A client that resets a call, or goes away, cancels its task
where it waits; a poll that is cancelled takes no task with it (`perdure.engine.matching.matching`), and neither
does one whose answer did not leave this process.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message

from perdure.api.depth import decode
from perdure.api.errors import Rejected, StatusCode
from perdure.engine.node.faults import Faults, as_rejected, is_shortage
from perdure.frontend.calls import Call, Origin
from perdure.frontend.grpc import bounds
from perdure.frontend.grpc.address import split_address
from perdure.frontend.grpc.connection import Connection
from perdure.frontend.grpc.entries import LARGE_BYTES, check_entries
from perdure.frontend.grpc.health import Health
from perdure.frontend.grpc.reflection import reflect
from perdure.frontend.grpc.stream import Message as StreamMessage
from perdure.frontend.grpc.stream import Stream
from perdure.frontend.rpcs import SERVICES, Handler, Rpc, rpcs

_log = logging.getLogger(__name__)

WAITING = frozenset(
    {
        *("PollWorkflowTaskQueue", "PollActivityTaskQueue", "PollNexusTaskQueue"),
        *("UpdateWorkflowExecution", "PollWorkflowExecutionUpdate", "ExecuteMultiOperation", "QueryWorkflow"),
        *("PollActivityExecution", "PollNexusOperationExecution", "PollWorkflowExecutionTimeSkipping"),
        *("Sleep", "SleepUntil", "UnlockTimeSkippingWithSleep"),
    }
)
"""RPCs that wait for something to happen. A read of history does so when it says so."""
MAY_WAIT = "GetWorkflowExecutionHistory"
READS = ("Describe", "GetWorkflowExecutionHistory", "List", "Scan")
"""How the names of RPCs begin whose answers may be large."""

_LONG_AGO = -math.inf

Admit = Callable[[str, str, str, str], Awaitable[None]]
"""Given path, the header `authorization`, the subject of the certificate shown, and the address. Raises Rejected."""
Streaming = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]


@dataclass(slots=True)
class Counts:
    """What was asked since the start, by RPC; and what was refused, by RPC and status code."""

    calls: Counter[str] = field(default_factory=Counter[str])
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])


class _Way(NamedTuple):
    """What is known of an RPC before it is called."""

    rpc: Rpc
    name: str
    request: type[Message]
    handler: Handler
    waits: bool
    may_wait: bool
    is_read: bool


def _way(rpc: Rpc, handler: Handler) -> _Way:
    name = rpc.name
    return _Way(rpc, name, rpc.request, handler, name in WAITING, name == MAY_WAIT, name.startswith(READS))


class Transport:
    """The gRPC server of one process.

    `objects` serve the RPCs, by full service name; while it is not `is_ready()` health is NOT_SERVING, for whoever
    shares out clients among servers, and all calls are served as ever. `admit` is asked before a conversation,
    those about health excepted, which are for everybody; unary calls have a chain of their own.
    """

    def __init__(
        self,
        objects: Mapping[str, object],
        is_ready: Callable[[], bool] = lambda: True,
        admit: Admit | None = None,
    ) -> None:
        self.counts = Counts()
        self.unsent = self.buffered = 0
        every = {rpc.path: rpc for rpc in rpcs(objects)}
        self._unserved = {path: rpc for path, rpc in every.items() if rpc.handler is None}
        self._ways = {path: _way(rpc, rpc.handler) for path, rpc in every.items() if rpc.handler is not None}
        self._health = Health(is_ready)
        self._streaming: dict[str, Streaming] = {
            self._health.CHECK: self._health.check,
            self._health.WATCH: self._health.watch,
        }
        self._streaming.update(reflect((*SERVICES, self._health.NAME)))
        self._connections: set[Connection] = set()
        self._usual: dict[Connection, dict[str, int]] = {}
        """What answers to reads weigh, by RPC: so much of them is counted as unsent while they are made."""
        self._turn: deque[Connection] = deque()
        self._held: set[Connection] = set()
        """Those that wait until the others' answers are taken."""
        self._is_turning = False
        self._starts = 1
        self._turned_at = _LONG_AGO
        """When the turn just before this one began, if there was one."""
        self._told_at = -bounds.TELL_S
        self._faults = Faults(_log)
        self._admit = admit
        self._server: asyncio.Server | None = None
        self._checking: asyncio.Task[None] | None = None

    # --- life cycle -----------------------------------------------------------------------------

    async def start(self, address: str, *, shares_port: bool = False, tls: ssl.SSLContext | None = None) -> str:
        """Listen on `host:port`; `shares_port`: where other processes do so too, and the kernel shares out connections.

        Returns it with the port that was taken. Raises OSError, ValueError.
        """
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Connection(self),
            *(host, port),
            backlog=1024,
            reuse_port=shares_port or None,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else bounds.HANDSHAKE_S,
        )
        self._serve(server)
        return f"{address.rpartition(':')[0]}:{server.sockets[0].getsockname()[1]}"

    async def start_on(self, listening: socket.socket) -> None:
        """Listen on a Unix socket that listens already; `stop` closes it."""
        self._serve(await asyncio.get_running_loop().create_unix_server(lambda: Connection(self), sock=listening))

    def _serve(self, server: asyncio.Server) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._checking = self._loop.create_task(self._check(), name="connections")
        self._health.serve(("", *SERVICES))

    async def stop(self, grace_s: float, send_away: Callable[[], Awaitable[None]]) -> None:
        """Refuse new calls, `send_away` those who wait, let the others end within `grace_s`, cut the rest off."""
        self._health.stop()  # first: whoever shares out clients among servers sends no more of them
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.leave()
        await send_away()
        streams = [stream for connection in self._connections for stream in connection.streams.values()]
        working = [stream.task for stream in streams if stream.task is not None]
        if working:
            await asyncio.wait(working, timeout=grace_s)
        if self._checking is not None:
            self._checking.cancel()
        for connection in list(self._connections):
            connection.end(0)

    async def _check(self) -> None:
        """Find connections whose clients are gone."""
        while True:
            await asyncio.sleep(bounds.CHECK_S)
            now = self._loop.time()
            self._release()
            for connection in list(self._connections):
                connection.check(now, bounds.SILENT_S, bounds.STUCK_S, bounds.GREETING_S)

    # --- connections ----------------------------------------------------------------------------

    def came(self, connection: Connection) -> bool:
        """See `connection.Host`."""
        if len(self._connections) >= bounds.CONNECTIONS_MAX:
            return False
        self._connections.add(connection)
        self._usual[connection] = {}
        return True

    def went(self, connection: Connection) -> None:
        """See `connection.Host`."""
        self._connections.discard(connection)
        self._usual.pop(connection, None)
        self._held.discard(connection)

    def opened(self, connection: Connection, stream: Stream) -> None:
        """See `connection.Host`."""
        serve = self._streaming.get(stream.head.path)
        if serve is not None:
            stream.inbox = asyncio.Queue()
            stream.task = self._loop.create_task(self._converse(connection, stream, stream.inbox, serve))

    def ready(self, connection: Connection) -> None:
        """See `connection.Host`."""
        if connection.is_in_turn:
            return
        connection.is_in_turn = True
        self._turn.append(connection)
        if not self._is_turning:
            self._is_turning = True
            self._loop.call_soon(self._start_some)

    def heard(self, connection: Connection) -> None:
        """See `connection.Host`. When nobody waits for a turn, its first call is started at once."""
        if not self._is_turning and self._may_start(connection):
            stream = connection.ready.popleft()
            if not stream.is_cancelled:
                self._start(connection, stream)
            if not connection.ready:
                return
        self.ready(connection)

    def _may_start(self, connection: Connection) -> bool:
        """Of one with a call that is ready."""
        if connection.running >= bounds.RUNNING_MAX:
            return False
        if not self.unsent:
            return True
        if connection.is_clogged:
            return False
        if self.unsent <= bounds.UNSENT_ALL_BYTES_MAX or connection.unsent <= bounds.UNSENT_BYTES_MAX // 64:
            return True
        self._held.add(connection)
        return False

    def _start_some(self) -> None:
        began = time.perf_counter()
        is_short = began - self._turned_at < bounds.TURN_S
        self._starts = min(2 * self._starts, bounds.STARTS_PER_TURN) if is_short else 1
        self._turned_at = began
        turn = self._turn
        for _ in range(self._starts):
            connection = turn.popleft()
            ready = connection.ready
            if ready and self._may_start(connection):
                stream = ready.popleft()
                if not stream.is_cancelled:
                    self._start(connection, stream)
            if ready and self._may_start(connection):
                turn.append(connection)
            else:
                connection.is_in_turn = False
                if not turn:
                    self._is_turning = False
                    self._turned_at = _LONG_AGO
                    return
            if time.perf_counter() - began > bounds.TURN_S:
                break  # a large request takes its time to be decoded
        self._loop.call_soon(self._start_some)

    # --- calls ----------------------------------------------------------------------------------

    def _start(self, connection: Connection, stream: Stream) -> None:
        head = stream.head
        way = self._ways.get(head.path)
        try:
            if way is None:
                raise self._unknown(head.path)
            data = stream.message()
            if len(data) >= LARGE_BYTES:
                check_entries(way.request, data)
            request: Any = decode(way.request, data)
        except Rejected as error:
            connection.refuse(stream, error)
            return
        except DecodeError as error:
            connection.refuse(stream, Rejected(StatusCode.INTERNAL, f"grpc: error unmarshalling request: {error}"))
            return
        except Exception as error:  # a bug must not take along everybody whose turn comes after
            self._faults.tell(error, "%s could not be begun", stream.head.path)
            connection.refuse(stream, Rejected(StatusCode.INTERNAL, "The request failed; the server's log says why."))
            return
        connection.release(stream)
        name = way.name
        self.counts.calls[name] += 1
        deadline = None if head.timeout_s is None else time.monotonic() + head.timeout_s
        call = Call(
            name, Origin.FAR, connection.principal, deadline, stream, head.authorization, head.trace, connection.subject
        )
        stream.task = task = self._loop.create_task(self._work(connection, stream, way, request, call), name=name)
        if not (way.waits or (way.may_wait and request.wait_new_event)):
            answer_bytes = 0
            if way.is_read:
                answer_bytes = self._usual.get(connection, {}).get(name, bounds.READ_BYTES)
                connection.expect(answer_bytes)
            connection.running += 1
            # No `finally` would do: a call that is reset before its first step never gets there.
            task.add_done_callback(partial(self._ended, connection, answer_bytes))

    def _unknown(self, path: str) -> Rejected:
        rpc = self._unserved.get(path)
        if rpc is None:
            return Rejected(StatusCode.UNIMPLEMENTED, f"unknown method {path}")
        return Rejected(StatusCode.UNIMPLEMENTED, f"{rpc.service}/{rpc.name} is not implemented.")

    async def _work(self, connection: Connection, stream: Stream, way: _Way, request: Any, call: Call) -> None:
        try:
            response = await way.handler(request, call)
            message = response.SerializeToString()
        except Rejected as error:
            self.counts.refusals[way.name, error.code.name] += 1
            if error.outside is not error.message:
                self._tell(way.name, error)
            connection.refuse(stream, error)
        except asyncio.CancelledError:
            if not stream.is_cancelled:
                raise
        except Exception as error:
            name = way.name
            refusal = Rejected(StatusCode.INTERNAL, f"{name} failed; the server's log says why.")
            if is_shortage(error):
                refusal = as_rejected(error, "The server")
                self._tell(name, refusal)
            else:
                self._faults.tell(error, "%s failed", name)
            self.counts.refusals[name, refusal.code.name] += 1
            connection.refuse(stream, refusal)
        else:
            if way.is_read:
                self._learn(connection, way.name, len(message))
            connection.respond(stream, message)

    def _learn(self, connection: Connection, name: str, size: int) -> None:
        """What the next such answer is taken to weigh: as much as this one; heavier ones are forgotten by halves."""
        usual = self._usual.get(connection)
        if usual is not None:
            usual[name] = max(size, usual.get(name, bounds.READ_BYTES) // 2)

    def _tell(self, rpc: str, error: Rejected) -> None:
        """What the client is not told, once a second at most: while a store is in trouble, everybody is refused."""
        now = self._loop.time()
        if now - self._told_at >= bounds.TELL_S:
            self._told_at = now
            _log.warning("%s was refused: %s", rpc, error.message)

    def _ended(self, connection: Connection, answer_bytes: int, task: asyncio.Task[None]) -> None:
        """There is room for another one."""
        connection.running -= 1
        if answer_bytes:
            connection.expect(-answer_bytes)
        if connection.ready:
            self.ready(connection)
        if self._held:
            self._release()

    def _release(self) -> None:
        if self.unsent <= bounds.UNSENT_ALL_BYTES_MAX:
            held, self._held = self._held, set()
            for connection in held:
                self.ready(connection)

    async def _converse(
        self, connection: Connection, stream: Stream, inbox: asyncio.Queue[StreamMessage | None], serve: Streaming
    ) -> None:
        """A call of many messages."""

        async def messages() -> AsyncIterator[bytes]:
            message = await inbox.get()
            if self._admit is not None and not stream.head.path.startswith(self._health.PREFIX):
                # Not before: who is refused while still speaking is not told why by every library.
                head, peer = stream.head, connection.principal.address
                await self._admit(head.path, head.authorization, connection.subject, peer)
            while message is not None:
                yield connection.taken(stream, message)
                message = await inbox.get()

        try:
            async for answer in serve(messages()):
                connection.send(stream, answer)
                await connection.room()
            connection.finish(stream)
        except Rejected as error:
            connection.refuse(stream, error)
        except DecodeError as error:
            connection.refuse(stream, Rejected(StatusCode.INTERNAL, f"grpc: error unmarshalling request: {error}"))
        except asyncio.CancelledError:
            if not stream.is_cancelled:
                raise
