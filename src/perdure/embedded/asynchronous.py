"""`AsyncEngine`: store, engine, frontend, worker and client on the caller's event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from perdure.embedded.forever import Ending, listening, told
from perdure.embedded.settings import DEFAULT_MEMORY_MB, Bounds, EngineSeams, takes_former_seams
from perdure.embedded.shared_file import SharedFile
from perdure.embedded.workers import Workers, listen_to_events, queues_of, registry_of
from perdure.engine.node import collector
from perdure.engine.node.config import EngineConfig
from perdure.frontend.near import Near
from perdure.interventions import AlertHook, AsyncInterventions
from perdure.sdk.client import AsyncClient
from perdure.sdk.connection.far import FarConnection, far_connection
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.connection.tls import TLSConfig, checked_tls
from perdure.sdk.convert import Converter, PayloadCodec
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import EngineClosedError, EngineError
from perdure.sdk.interceptors import Interceptor
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration
from perdure.sdk.worker import WorkerConfig
from perdure.sdk.worker.config import Footing
from perdure.sdk.worker.green_threads import check_threads
from perdure.sdk.worker.worker import QueueWorker, WorkerSeams
from perdure.stores.api import StoreError
from perdure.stores.open import open_store, shown_url
from perdure.stores.sqlite import SqliteStore


@takes_former_seams
@lists_options
class AsyncEngine(AsyncClient):
    """The engine on the caller's event loop. See `Engine` for the arguments; every method is a coroutine.

    Use it as `async with Engine(...) as engine`, or call `open()` and `close()`.
    """

    _seams = EngineSeams()

    def __init__(
        self,
        url: str,
        *,
        task_queue: str = "default",
        task_queues: Sequence[str] = (),
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
        tls: TLSConfig | None = None,
        api_key: str | None = None,
    ) -> None:
        seams = self._seams
        bounds = Bounds(
            max_concurrent_activities, max_concurrent_workflow_tasks, memory_limit_mb, shutdown_grace, retention
        )
        converter = Converter(codec)
        queues = queues_of(task_queue, task_queues)
        self.url = shown_url(url)
        self._home = home = _home_of(
            url, seams, bounds.engine_config(namespace, workers_died=worker), _far(url, tls, api_key, namespace)
        )
        is_shared = isinstance(home, SharedFile)
        connection = home.rpcs
        super().__init__(
            connection,
            namespace=namespace,
            task_queue=queues[0],
            converter=converter,
            identity=identity,
            interceptors=interceptors,
        )
        if seams.new_id is not None:
            self._reach.new_id = seams.new_id
        if seams.clock is not None:
            self._reach.now_ns = seams.clock.now_ns
        self._registry = registry_of(workflows, activities, alert)
        if seams.registry is not None:
            self._registry = seams.registry(self._registry)
        is_near = isinstance(home, Near)
        config = seams.worker_config or bounds.worker_config(near=is_near, queues=len(queues))
        self._footing = Footing(fails_repeatedly=is_near or is_shared, shares_store=is_shared)
        key = seams.instance_key or (home.key if is_shared else None)
        self._workers = Workers(
            self._worker_for(queue, config, key, "" if queue == queues[0] else f"-{queue}")
            for queue in (queues if worker else ())
        )
        if is_shared:
            home.on_owner = self._call
        self._state = "not opened yet: use it in a `with` block, or call open()"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._pid = 0

    def _worker_for(self, queue: str, config: WorkerConfig, key: str | None, sticky_suffix: str) -> QueueWorker:
        reach, seams = self._reach, self._seams
        return QueueWorker(
            reach.connection,
            queue,
            self._registry,
            namespace=reach.namespace,
            converter=reach.converter,
            config=config,
            identity=reach.identity,
            interceptors=self._interceptors,
            footing=self._footing,
            seams=WorkerSeams(seams.inline, key, seams.on_failure, sticky_suffix),
        )

    @property
    def interventions(self) -> AsyncInterventions:
        """What waits for a person's decision."""
        return AsyncInterventions(self)

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
            await self._workers.start()
            if self._workers.names:
                await listen_to_events(self._reach, self._workers.names[0], self._registry)
        except BaseException:
            self._state = "not open: opening it failed"
            await self._workers.stop(at_once=True)
            await self._home.close()
            raise
        collector.relax()
        return self

    async def close(self, *, at_once: bool = False) -> None:
        """Let running activities end within the grace period, stop, release the store. Idempotent.

        Nothing is lost: what has not ended goes on when the store is opened again.

        Args:
            at_once: do not wait for running activities.

        Raises EngineError: on another event loop, or in another process, than those that it was opened on.
        """
        if self._state or self._loop is None:
            return
        self._check_usable()
        self._state = "closed"
        self._closing.set()
        try:
            await self._stop_workers(at_once=at_once)
            await self._workers.stop(at_once=at_once)
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
        ending = Ending(self._hurry)
        await listening(ending, self._serve(ending))

    async def _serve(self, ending: Ending) -> None:
        """Until it is told to end, or closed by somebody; then close."""
        self._check_usable()
        await told(ending, self._closing)
        await self.close()

    def _hurry(self) -> None:
        self._workers.hurry()

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
        self._workers.move(connection)

    def _check_startable(self, definition: AnyWorkflow, task_queue: str) -> None:
        """So that a run is not started that this engine's worker would refuse for ever."""
        if task_queue not in self._workers.names:
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


def _home_of(url: str, seams: EngineSeams, config: EngineConfig, far: FarConnection | None) -> _Home:
    if seams.store is None and far is not None:
        return far
    store = seams.store or open_store(url)

    def near() -> Near:
        return Near(store, seams.clock, seams.new_id, seams.engine_config or config)

    if isinstance(store, SqliteStore) and seams.clock is None:  # no other process has the same time
        return SharedFile(store.path, near, is_open_to_others=(seams.engine_config or config).has_duties)
    return near()


def _far(url: str, tls: TLSConfig | None, api_key: str | None, namespace: str) -> FarConnection | None:
    """The way to a server; None: the URL is a store's. Raises StoreError; ValueError, EngineError for TLS or a key that
    do not fit."""
    checked_tls(url, tls, api_key)
    if urlsplit(url).scheme not in ("grpc", "grpcs"):
        return None
    try:
        return far_connection(url, tls=tls, api_key=api_key, namespace=namespace)
    except ValueError as error:
        raise StoreError(str(error)) from error
