"""`AsyncEngine`: store, engine, frontend, worker and client on the caller's event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from perdure.embedded.forever import Ending, heard, look_up
from perdure.embedded.settings import DEFAULT_MEMORY_MB, Bounds, EngineSeams
from perdure.embedded.shared_file import SharedFile
from perdure.engine.node import collector
from perdure.engine.node.config import EngineConfig
from perdure.events import with_hub
from perdure.frontend.near import Near
from perdure.interventions import AlertHook, AsyncInterventions, alerting
from perdure.sdk.client import Client
from perdure.sdk.client.events import listen
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.convert import Converter, PayloadCodec
from perdure.sdk.declare.definitions import AnyWorkflow, Registry, default_registry
from perdure.sdk.errors import EngineClosedError, EngineError
from perdure.sdk.interceptors import Interceptor
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration
from perdure.sdk.worker import Worker
from perdure.sdk.worker.green_threads import check_threads
from perdure.sdk.worker.worker import WorkerSeams
from perdure.stores.api import StoreError
from perdure.stores.open import open_store, shown_url
from perdure.stores.sqlite import SqliteStore


@lists_options
class AsyncEngine(Client):
    """The engine on the caller's event loop. See `Engine` for the arguments; every method is a coroutine.

    Use it as `async with Engine(...) as engine`, or call `open()` and `close()`.
    """

    _seams = EngineSeams()

    def __init__(
        self,
        url: str,
        *,
        task_queue: str = "default",
        namespace: str = "default",
        workflows: Iterable[object] | None = None,
        activities: Iterable[object] | None = None,
        identity: str | None = None,
        codec: PayloadCodec | None = None,
        max_concurrent_activities: int = 200,
        max_concurrent_workflow_tasks: int = 200,
        memory_limit_mb: int = DEFAULT_MEMORY_MB,
        worker: bool = True,
        shutdown_grace: Duration | None = None,
        retention: Duration | None = None,
        alert: AlertHook | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        seams = self._seams
        bounds = Bounds(
            max_concurrent_activities, max_concurrent_workflow_tasks, memory_limit_mb, shutdown_grace, retention
        )
        converter = Converter(codec)
        self.url = shown_url(url)
        self._home = home = _home_of(url, seams, bounds.engine_config(namespace, workers_died=worker))
        is_shared = isinstance(home, SharedFile)
        connection = home.rpcs
        super().__init__(
            connection,
            namespace=namespace,
            task_queue=task_queue,
            converter=converter,
            identity=identity,
            new_id=seams.new_id,
            interceptors=interceptors,
        )
        if seams.clock is not None:
            self._reach.now_ns = seams.clock.now_ns
        self._registry = with_hub(alerting(_registry_of(workflows, activities), alert))
        if seams.registry is not None:
            self._registry = seams.registry(self._registry)
        self._worker: Worker | None = None
        if worker:
            self._worker = Worker(
                connection,
                task_queue,
                self._registry,
                namespace=namespace,
                converter=converter,
                config=seams.worker_config or bounds.worker_config(near=isinstance(home, Near), shares_store=is_shared),
                identity=identity,
                interceptors=interceptors,
                seams=WorkerSeams(
                    seams.inline, seams.instance_key or (home.key if is_shared else None), seams.on_failure
                ),
            )
        if is_shared:
            home.on_owner = self._call
        self._state = "not opened yet: use it in a `with` block, or call open()"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._pid = 0

    @property
    def interventions(self) -> AsyncInterventions:
        """What waits for a person's decision."""
        return AsyncInterventions(self, self._reach)

    async def open(self) -> AsyncEngine:
        """Open the store, take back what dead workers held, begin to work.

        Raises:
            StoreError: the store cannot be opened; the message says why and what to do.
            DefinitionError: two of the workflows or activities that it is to run have one name.
            EngineError: it was opened before; or gevent has replaced this process's threads.
        """
        if self._loop is not None:
            raise EngineError(f"the engine on {self.url} was opened before; make a new one")
        check_threads()
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
        try:
            await self._home.open()
            self._call(self._home.rpcs)
            self._state = ""
            if self._worker is not None:
                await self._worker.start()
                await self._listen(self._worker.name.task_queue)
        except BaseException:
            self._state = "not open: opening it failed"
            if self._worker is not None:
                await self._worker.stop(at_once=True)
            await self._home.close()
            raise
        collector.relax()
        return self

    async def close(self, *, at_once: bool = False) -> None:
        """Let running activities end within the grace period, stop, release the store. Idempotent.

        Nothing is lost: what has not ended goes on when the store is opened again.

        Args:
            at_once: do not wait for running activities.
        """
        if self._state or self._loop is None:
            return
        self._check_usable()
        self._state = "closed"
        self._closing.set()
        try:
            if self._worker is not None:
                await self._worker.stop(at_once=at_once)
        finally:
            collector.restore()
            await self._home.close()

    async def run_forever(self) -> None:
        """Work until SIGTERM or SIGINT comes, or until the engine is closed; then close it, as `close` does.

        Told once, it takes no new task and lets running activities end within the grace period; told again, it stops
        at once. It opens an engine that is not open. Beside the main thread it hears no signals: `close` ends it.

        Raises as `open`.
        """
        if self._loop is None:
            await self.open()
        loop = asyncio.get_running_loop()
        ending = Ending(self._hurry)
        with heard(lambda number: loop.call_soon_threadsafe(ending.tell, number)):
            looking_up = asyncio.ensure_future(look_up())
            try:
                await self._serve(ending)
            finally:
                looking_up.cancel()

    async def _serve(self, ending: Ending) -> None:
        """Until it is told to end, or closed by somebody; then close."""
        self._check_usable()
        waits = [asyncio.ensure_future(event.wait()) for event in (ending.told, self._closing)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        await self.close()

    def _hurry(self) -> None:
        if self._worker is not None:
            self._worker.hurry()

    async def __aenter__(self) -> AsyncEngine:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(at_once=kind is not None and not issubclass(kind, Exception))

    def _check_usable(self) -> None:
        if self._state:
            raise EngineClosedError(f"the engine on {self.url} is {self._state}")
        if os.getpid() != self._pid:
            raise EngineError(
                f"the engine on {self.url} belongs to process {self._pid} and was carried into {os.getpid()} by a "
                "fork; open an engine after forking, in each process its own"
            )
        if asyncio.get_running_loop() is not self._loop:
            raise EngineError(f"the engine on {self.url} was opened on another event loop; use it there")

    def _call(self, connection: Connection) -> None:
        """Ask this one from now on: the engine itself, where it runs in this process."""
        self._reach.connection = connection
        if self._worker is not None:
            self._worker.move(connection)

    async def _listen(self, task_queue: str) -> None:
        started_by_events = [definition for definition in self._registry.workflows.all() if definition.events]
        await listen(self._reach, task_queue, started_by_events)

    def _check_startable(self, definition: AnyWorkflow, task_queue: str) -> None:
        """So that a run is not started that this engine's worker would refuse for ever."""
        if self._worker is None or task_queue != self._worker.name.task_queue:
            return
        known = self._registry.workflows.get(definition.name)
        if definition.is_local and (known is None or known.is_local):
            self._registry.add(definition)  # the latest of a test's or notebook's helpers is the one that is meant
        else:
            self._registry.workflow(definition.name)


class _Home(Protocol):
    """What answers the RPCs, near or far, between `open` and `close`."""

    @property
    def rpcs(self) -> Connection: ...
    async def open(self) -> None: ...
    async def close(self) -> None: ...


def _home_of(url: str, seams: EngineSeams, config: EngineConfig) -> _Home:
    if seams.store is None and urlsplit(url).scheme in ("grpc", "grpcs"):
        return _far_home(url)
    store = seams.store or open_store(url)

    def near() -> Near:
        return Near(store, seams.clock, seams.new_id, seams.engine_config or config)

    if isinstance(store, SqliteStore) and seams.clock is None:  # no other process has the same time
        return SharedFile(store.path, near, is_open_to_others=(seams.engine_config or config).has_duties)
    return near()


def _far_home(url: str) -> _Home:
    try:
        from perdure.sdk.connection.grpc import GrpcConnection
    except ImportError as error:
        raise EngineError(f"{url!r} needs gRPC ({error.name} is missing): pip install 'perdure[grpc]'") from error
    try:
        return GrpcConnection(url)
    except ValueError as error:
        raise StoreError(str(error)) from error


def _registry_of(workflows: Iterable[object] | None, activities: Iterable[object] | None) -> Registry:
    if workflows is None and activities is None:
        return default_registry
    return Registry(
        default_registry.workflows if workflows is None else workflows,
        default_registry.activities if activities is None else activities,
    )
