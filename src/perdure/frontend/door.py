"""The door of a store's file: its owner serves the whole API on the socket beside it, to other processes of this user.

While nobody comes it costs nothing: a socket that listens, of which the event loop tells. With the first who comes the
transport is loaded, and from then on the owner looks twice a second who of them is alive: what a process held that has
died is taken back at once, instead of at its time-out (ADR 0024).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.api import enums
from perdure.api.errors import Rejected
from perdure.api.presence import presence_of
from perdure.core.names import QueueName, TaskKind
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.stores.api import StoreError
from perdure.stores.sqlite.beside import Address
from perdure.stores.sqlite.lock_file import LockFile

if TYPE_CHECKING:
    from perdure.frontend.grpc.transport import Transport

_log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often the owner looks who of the others is alive."""
_POLLS = ("poll_workflow_task_queue", "poll_activity_task_queue")


class Door:
    """Open between `open` and `close`, on one event loop, by the process that owns the store.

    Args:
        engine: started.
        services: what serves its API, by the service's name.
        store: the store's file, resolved.
        lock_file: of the store.
    """

    def __init__(self, engine: Engine, services: Mapping[str, object], store: Path, lock_file: LockFile) -> None:
        self._engine = engine
        self._services = services
        self._address = Address(store)
        self._lock_file = lock_file
        self._listening: socket.socket | None = None
        self._transport: Transport | None = None
        self._serving: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._workers: dict[str, _Names] = {}

    def open(self) -> None:
        """Listen. Raises OSError: then others cannot share the file."""
        self._loop = asyncio.get_running_loop()
        self._listening = listening = self._address.listen()
        self._loop.add_reader(listening, self._somebody_comes)
        for key in self._lock_file.living():  # they worked for the owner before this one
            self._workers[key] = _Names(key)
        if self._workers:
            self._watch()

    def _somebody_comes(self) -> None:
        assert self._listening is not None, "it is open"
        self._loop.remove_reader(self._listening)
        self._serving = self._loop.create_task(self._serve(self._listening), name="door")

    async def _serve(self, listening: socket.socket) -> None:
        try:
            # In a thread: it takes a tenth of a second, which the owner's own work has not.
            kind: type[Transport] = await asyncio.to_thread(_load_transport)
        except ImportError as error:
            _log.warning("another process wants to share %s, which needs %s", self._address.path, error.name)
            self._shut()
            return
        services = {name: _Watched(service, self._note) for name, service in self._services.items()}
        self._transport = kind(services)
        await self._transport.start_on(listening)
        self._watch()

    def _note(self, request: Any) -> None:
        """A worker polls."""
        key = presence_of(request.worker_instance_key)
        if key:
            names = self._workers.get(key) or self._workers.setdefault(key, _Names(key))
            names.note(request)

    # --- who is alive -----------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._watching is None:
            self._watching = self._loop.create_task(self._look_again_and_again(), name="others of the store")

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except (
                StoreError,
                Rejected,
                OSError,
            ) as error:  # whoever needs the store says so louder; it is looked at again
                _log.warning("what dead processes held is not taken back yet: %s", error)

    async def _look(self) -> None:
        living = self._lock_file.living()
        dead = [names for key, names in self._workers.items() if key not in living]
        for names in dead:
            names.forget(self._engine)
            await self._engine.recovery.take_back(names.key)
            del self._workers[names.key]
            _log.info("the worker %s is gone, and what it held is taken back", names.identity or names.key)

    # --- the end ----------------------------------------------------------------------------------

    async def close(self, grace_s: float) -> None:
        """Send the others away, let calls under way end within `grace_s`, take the socket away. Idempotent.

        Before the store is closed: who owns the file next has a socket of the same name.
        """
        for task in (self._serving, self._watching):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.stop(grace_s, self._engine.send_away)
        self._shut()
        self._address.close()

    def _shut(self) -> None:
        listening, self._listening = self._listening, None
        if listening is None:
            return
        if listening.fileno() >= 0:  # the transport closes what it listens on
            self._loop.remove_reader(listening)
            listening.close()
        try:
            self._address.remove()
        except OSError as error:  # it stays, and the next owner takes it away
            _log.info("the socket %s is left behind: %s", self._address.path, error)


class _Watched:
    """A service as it is, but who polls is noted."""

    def __init__(self, service: object, note: Callable[[Any], None]) -> None:
        self._service = service
        self._note = note

    def __getattr__(self, name: str) -> Any:
        served = getattr(self._service, name)
        if name not in _POLLS:
            return served

        def poll(request: Any, call: Call) -> Awaitable[Any]:
            self._note(request)
            return served(request, call)

        return poll


class _Names:
    """What one worker of another process is known by."""

    __slots__ = ("identity", "key", "namespaces", "sticky")

    def __init__(self, key: str) -> None:
        self.key = key
        self.identity = ""
        self.namespaces: set[str] = set()
        self.sticky: set[str] = set()

    def note(self, request: Any) -> None:
        """The worker polls."""
        self.identity = request.identity
        self.namespaces.add(request.namespace)
        if request.task_queue.kind == enums.QUEUE_STICKY:
            self.sticky.add(request.task_queue.name)

    def forget(self, engine: Engine) -> None:
        """The worker polls no more: what it would have got goes to others."""
        for namespace in self.namespaces:
            engine.matching.end_worker(namespace, self.key)
            for name in self.sticky:
                engine.matching.drop(QueueName(namespace, name, TaskKind.WORKFLOW))


def _load_transport() -> type[Transport]:
    from perdure.frontend.grpc.transport import Transport

    return Transport
