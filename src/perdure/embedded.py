"""`Engine`: the whole of perdure inside your process.

    with Engine("sqlite:///orders.db") as engine:            # or: async with Engine(...) as engine
        engine.run(fulfill_order, order, id="order-1001")

The one module that joins what else never meets: store, engine, frontend, worker and client. All of
it is asyncio on one event loop, `AsyncEngine`; `Engine` runs that loop in a thread of its own and
bridges every method, so there is one implementation and not two.

What is started survives this process. When it is opened again, whatever its workers had in
their hands is handed out again at once, for they are known to be dead.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from temporalio.api.history.v1 import HistoryEvent

from perdure.engine import collector
from perdure.engine.clock import Clock
from perdure.engine.config import EngineConfig
from perdure.events import with_hub
from perdure.frontend.near import Near
from perdure.interventions import AlertHook, Interventions, SyncInterventions, alerting
from perdure.sdk.client import Client, UpdateHandle, WorkflowDescription, WorkflowHandle
from perdure.sdk.client.events import listen
from perdure.sdk.client.messages import WaitFor
from perdure.sdk.client.resets import Reapply, Step
from perdure.sdk.client.schedules import SyncSchedules
from perdure.sdk.connection import Connection
from perdure.sdk.convert import Converter, PayloadCodec
from perdure.sdk.definitions import ActivityDefinition, AnyWorkflow, Registry, WorkflowDefinition, default_registry
from perdure.sdk.errors import EngineClosedError, EngineError
from perdure.sdk.loop_thread import LoopThread
from perdure.sdk.options import Duration, optional_duration
from perdure.sdk.worker import Worker, WorkerConfig
from perdure.sdk.worker.worker import WorkerSeams
from perdure.stores.api import Store, StoreError
from perdure.stores.open import open_store

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_MEMORY_MB = 256


@dataclass(frozen=True, slots=True)
class EngineSeams:
    """What tests and the simulation put in place of the world. Not part of the public interface."""

    store: Store | None = None
    """Instead of the one that the URL names."""
    clock: Clock | None = None
    new_id: Callable[[], str] | None = None
    engine_config: EngineConfig | None = None
    worker_config: WorkerConfig | None = None
    inline: bool = False
    """Run workflow code and `def` activities on the event loop itself."""
    instance_key: str | None = None
    registry: Callable[[Registry], Registry] | None = None
    """Stands between the worker and what it would run."""


class AsyncEngine(Client):
    """The engine on the caller's event loop. See `Engine` for the arguments; every method is a coroutine.

    Use it as `async with Engine(...) as engine`, or call `open()` and `close()`.
    """

    def __init__(
        self,
        url: str,
        *,
        task_queue: str = "default",
        namespace: str = "default",
        workflows: Iterable[WorkflowDefinition[Any, Any]] | None = None,
        activities: Iterable[ActivityDefinition[Any, Any]] | None = None,
        identity: str | None = None,
        codec: PayloadCodec | None = None,
        max_concurrent_activities: int = 200,
        max_concurrent_workflow_tasks: int = 200,
        memory_limit_mb: int = DEFAULT_MEMORY_MB,
        worker: bool = True,
        shutdown_grace: Duration | None = None,
        retention: Duration | None = None,
        alert: AlertHook | None = None,
        seams: EngineSeams | None = None,
    ) -> None:
        seams = seams or EngineSeams()
        bounds = _Bounds(
            max_concurrent_activities, max_concurrent_workflow_tasks, memory_limit_mb, shutdown_grace, retention
        )
        converter = Converter(codec)
        self.url = url
        self._home = _home_of(url, seams, bounds.engine_config(namespace, workers_died=worker))
        connection = self._home.rpcs
        super().__init__(
            connection,
            namespace=namespace,
            task_queue=task_queue,
            converter=converter,
            identity=identity,
            new_id=seams.new_id,
        )
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
                config=seams.worker_config or bounds.worker_config(near=isinstance(self._home, Near)),
                identity=identity,
                seams=WorkerSeams(seams.inline, seams.instance_key),
            )
        self._state = "not opened yet: use it in a `with` block, or call open()"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    @property
    def interventions(self) -> Interventions:
        """What waits for a person's decision."""
        return Interventions(self, self._reach)

    async def open(self) -> AsyncEngine:
        """Open the store, take back what dead workers held, begin to work.

        Raises:
            StoreError: the store cannot be opened; the message says why and what to do.
            DefinitionError: two of the workflows or activities that it is to run have one name.
            EngineError: it was opened before.
        """
        if self._loop is not None:
            raise EngineError(f"the engine on {self.url} was opened before; make a new one")
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
        try:
            await self._home.open()
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
        try:
            if self._worker is not None:
                await self._worker.stop(at_once=at_once)
        finally:
            collector.restore()
            await self._home.close()

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
                "fork; open an engine after forking, in one process alone"
            )
        if asyncio.get_running_loop() is not self._loop:
            raise EngineError(f"the engine on {self.url} was opened on another event loop; use it there")

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
    return Near(seams.store or open_store(url), seams.clock, seams.new_id, seams.engine_config or config)


def _far_home(url: str) -> _Home:
    try:
        from perdure.sdk.connection_grpc import GrpcConnection
    except ImportError as error:
        raise EngineError(f"{url!r} needs gRPC ({error.name} is missing): pip install 'perdure[grpc]'") from error
    try:
        return GrpcConnection(url)
    except ValueError as error:
        raise StoreError(str(error)) from error


def _bridged(
    method: Callable[Concatenate[AsyncEngine, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Engine, P], R]:
    @wraps(method)
    def bridge(self: Engine, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._call(method(self._engine, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - its bridge

    return bridge


def _bridged_start(
    method: Callable[Concatenate[AsyncEngine, P], Coroutine[Any, Any, WorkflowHandle[R]]],
) -> Callable[Concatenate[Engine, P], SyncWorkflowHandle[R]]:
    @wraps(method)
    def bridge(self: Engine, *args: P.args, **kwargs: P.kwargs) -> SyncWorkflowHandle[R]:
        handle = self._call(method(self._engine, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - its bridge
        return SyncWorkflowHandle(self, handle)

    return bridge


def _bridged_update(
    method: Callable[Concatenate[AsyncEngine, P], Coroutine[Any, Any, Any]],
) -> Callable[Concatenate[Engine, P], Any]:
    @wraps(method)
    def bridge(self: Engine, *args: P.args, **kwargs: P.kwargs) -> Any:
        answer = self._call(method(self._engine, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - its bridge
        return SyncUpdateHandle(self, cast("UpdateHandle[Any]", answer)) if isinstance(answer, UpdateHandle) else answer

    return bridge


class Engine:
    """A durable execution engine in this process.

    Args:
        url: the store: "sqlite:///orders.db" (relative), "sqlite:////var/lib/orders.db" (absolute), "memory://";
            or a server: "grpc://host:7233", "grpcs://…" with TLS (`perdure server`, or any of Temporal's API).
        task_queue: which queue this engine's worker serves, and starts on.
        namespace: where its workflows live.
        workflows: what its worker runs; default everything decorated in this process.
        activities: likewise.
        identity: how history names it; default `pid@host`.
        codec: applied to all payloads, e.g. to encrypt them.
        max_concurrent_activities: attempts running at once, also the most threads for `def` activities.
        max_concurrent_workflow_tasks: workflow tasks in hand at once.
        memory_limit_mb: what its caches may take together; beyond it runs are kept on disk alone.
        worker: False to look and steer only, running nothing.
        shutdown_grace: how long `close` waits for running activities; default 5 s.
        retention: how long closed executions are kept in the store, at least "1h"; default what the namespace was told
            before, at first 30 days. A server keeps its own.
        alert: who is told of an intervention: a command line (the entry as JSON on its standard input), an
            http(s) URL (the entry is POSTed), or a function of the entry. Default a warning in the log.

    Every method may be called from any thread. Used as `async with`, it gives an `AsyncEngine`
    on the caller's event loop.

    Raises:
        StoreError: the URL is not understood; the store cannot be opened (in `with` or `open`).
        DefinitionError: two workflows or activities that it is to run have one name.
    """

    def __init__(
        self,
        url: str,
        *,
        task_queue: str = "default",
        namespace: str = "default",
        workflows: Iterable[WorkflowDefinition[Any, Any]] | None = None,
        activities: Iterable[ActivityDefinition[Any, Any]] | None = None,
        identity: str | None = None,
        codec: PayloadCodec | None = None,
        max_concurrent_activities: int = 200,
        max_concurrent_workflow_tasks: int = 200,
        memory_limit_mb: int = DEFAULT_MEMORY_MB,
        worker: bool = True,
        shutdown_grace: Duration | None = None,
        retention: Duration | None = None,
        alert: AlertHook | None = None,
        seams: EngineSeams | None = None,
    ) -> None:
        self._engine = AsyncEngine(
            url,
            task_queue=task_queue,
            namespace=namespace,
            workflows=workflows,
            activities=activities,
            identity=identity,
            codec=codec,
            max_concurrent_activities=max_concurrent_activities,
            max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
            memory_limit_mb=memory_limit_mb,
            worker=worker,
            shutdown_grace=shutdown_grace,
            retention=retention,
            alert=alert,
            seams=seams,
        )
        self._thread: LoopThread | None = None
        self._lock = threading.Lock()

    def open(self) -> Engine:
        """Start the loop thread and open the engine on it. Raises as `AsyncEngine.open`."""
        with self._lock:
            if self._thread is not None:
                raise EngineError(f"the engine on {self._engine.url} was opened before; make a new one")
            thread = LoopThread(f"perdure-engine {self._engine.url}")
            try:
                thread.call(self._engine.open())
            except BaseException:
                thread.stop()
                raise
            self._thread = thread
        return self

    def close(self, *, at_once: bool = False) -> None:
        """See `AsyncEngine.close`. Idempotent, from any thread."""
        with self._lock:
            thread = self._thread
            if thread is None or not thread.is_running:
                return
            try:
                thread.call(self._engine.close(at_once=at_once))
            finally:
                thread.stop()

    def __enter__(self) -> Engine:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Ctrl-C means now: what runs is asked to stop at once, and is run again by the next start.
        self.close(at_once=kind is not None and not issubclass(kind, Exception))

    async def __aenter__(self) -> AsyncEngine:
        return await self._engine.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._engine.__aexit__(kind, error, trace)

    def _call(self, work: Coroutine[Any, Any, R]) -> R:
        thread = self._thread
        if thread is None or not thread.is_running:
            work.close()
            state = "closed" if thread is not None else "not opened yet: use it in a `with` block, or call open()"
            raise EngineClosedError(f"the engine on {self._engine.url} is {state}")
        return thread.call(work)

    @property
    def interventions(self) -> SyncInterventions:
        """What waits for a person's decision."""
        return SyncInterventions(self._engine.interventions, self._call)

    @property
    def schedules(self) -> SyncSchedules:
        """Workflows that start by the clock."""
        return SyncSchedules(self._engine.schedules, self._call)

    def get(self, id: str, run_id: str | None = None, *, result_type: Any = Any) -> SyncWorkflowHandle[Any]:
        """See `Client.get`."""
        return SyncWorkflowHandle(self, self._engine.get(id, run_id, result_type=result_type))

    run = _bridged(AsyncEngine.run)
    start = _bridged_start(AsyncEngine.start)
    describe = _bridged(AsyncEngine.describe)
    history = _bridged(AsyncEngine.history)
    signal = _bridged(AsyncEngine.signal)
    signal_with_start = _bridged_start(AsyncEngine.signal_with_start)
    query = _bridged(AsyncEngine.query)
    update = _bridged_update(AsyncEngine.update)
    update_with_start = _bridged_update(AsyncEngine.update_with_start)
    complete_activity = _bridged(AsyncEngine.complete_activity)
    fail_activity = _bridged(AsyncEngine.fail_activity)
    heartbeat_activity = _bridged(AsyncEngine.heartbeat_activity)
    pause = _bridged(AsyncEngine.pause)
    unpause = _bridged(AsyncEngine.unpause)
    reset = _bridged(AsyncEngine.reset)
    emit = _bridged(AsyncEngine.emit)
    stop_listening = _bridged(AsyncEngine.stop_listening)
    add_search_attributes = _bridged(AsyncEngine.add_search_attributes)
    search_attributes = _bridged(AsyncEngine.search_attributes)
    pause_activity = _bridged(AsyncEngine.pause_activity)
    unpause_activity = _bridged(AsyncEngine.unpause_activity)
    reset_activity = _bridged(AsyncEngine.reset_activity)
    update_activity = _bridged(AsyncEngine.update_activity)
    cancel = _bridged(AsyncEngine.cancel)
    terminate = _bridged(AsyncEngine.terminate)
    list = _bridged(AsyncEngine.list)
    count = _bridged(AsyncEngine.count)
    count_by_status = _bridged(AsyncEngine.count_by_status)
    check_replay = _bridged(AsyncEngine.check_replay)


class SyncWorkflowHandle(Generic[R]):
    """A `WorkflowHandle` whose methods block. `id` and `run_id` as there."""

    def __init__(self, engine: Engine, handle: WorkflowHandle[R]) -> None:
        self._engine = engine
        self._call = engine._call  # pyright: ignore[reportPrivateUsage] - part of its bridge
        self._handle = handle
        self.id = handle.id
        self.run_id = handle.run_id

    def __repr__(self) -> str:
        return repr(self._handle)

    def result(self, timeout: Duration | None = None) -> R:
        """See `WorkflowHandle.result`."""
        return self._call(self._handle.result(timeout))

    def describe(self) -> WorkflowDescription:
        """See `WorkflowHandle.describe`."""
        return self._call(self._handle.describe())

    def history(self) -> list[HistoryEvent]:
        """See `WorkflowHandle.history`."""
        return self._call(self._handle.history())

    def pause(self, reason: str = "") -> None:
        """See `WorkflowHandle.pause`."""
        self._call(self._handle.pause(reason))

    def unpause(self, reason: str = "") -> None:
        """See `WorkflowHandle.unpause`."""
        self._call(self._handle.unpause(reason))

    def reset(
        self,
        *,
        event_id: int | None = None,
        step: Step | None = None,
        nth: int = -1,
        reason: str = "",
        reapply: Reapply = "all",
    ) -> SyncWorkflowHandle[R]:
        """See `Client.reset`. Gives back a handle to the new run."""
        work = self._handle.reset(event_id=event_id, step=step, nth=nth, reason=reason, reapply=reapply)
        return SyncWorkflowHandle(self._engine, self._call(work))

    def signal(self, signal: Any, *args: Any, request_id: str | None = None) -> None:
        """See `WorkflowHandle.signal`."""
        self._call(self._handle.signal(signal, *args, request_id=request_id))

    def query(self, query: Any, *args: Any, returns: Any = Any) -> Any:
        """See `WorkflowHandle.query`."""
        return self._call(self._handle.query(query, *args, returns=returns))

    def update(
        self,
        update: Any,
        *args: Any,
        update_id: str | None = None,
        wait_for: WaitFor = "completed",
        returns: Any = Any,
    ) -> Any:
        """See `WorkflowHandle.update`; "accepted" gives back a SyncUpdateHandle."""
        work = self._handle.update(update, *args, update_id=update_id, wait_for=wait_for, returns=returns)
        answer = self._call(work)
        if isinstance(answer, UpdateHandle):
            return SyncUpdateHandle(self._engine, cast("UpdateHandle[Any]", answer))
        return answer

    def update_handle(self, update_id: str, *, returns: Any = Any) -> SyncUpdateHandle[Any]:
        """See `WorkflowHandle.update_handle`."""
        return SyncUpdateHandle(self._engine, self._handle.update_handle(update_id, returns=returns))

    def cancel(self, reason: str = "") -> None:
        """See `WorkflowHandle.cancel`."""
        self._call(self._handle.cancel(reason))

    def terminate(self, reason: str = "") -> None:
        """See `WorkflowHandle.terminate`."""
        self._call(self._handle.terminate(reason))


class SyncUpdateHandle(Generic[R]):
    """An `UpdateHandle` whose method blocks. `id`, `workflow_id` and `run_id` as there."""

    def __init__(self, engine: Engine, handle: UpdateHandle[R]) -> None:
        self._call = engine._call  # pyright: ignore[reportPrivateUsage] - part of its bridge
        self._handle = handle
        self.id = handle.id
        self.workflow_id = handle.workflow_id
        self.run_id = handle.run_id

    def __repr__(self) -> str:
        return repr(self._handle)

    def result(self, timeout: Duration | None = None) -> R:
        """See `UpdateHandle.result`."""
        return self._call(self._handle.result(timeout))


_RETENTION_MIN_NS = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What the user set, shared out to the parts."""

    activities: int
    workflow_tasks: int
    memory_mb: int
    shutdown_grace: Duration | None
    retention: Duration | None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("max_concurrent_activities", self.activities, 1),
            ("max_concurrent_workflow_tasks", self.workflow_tasks, 1),
            ("memory_limit_mb", self.memory_mb, 16),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")

    def engine_config(self, namespace: str, *, workers_died: bool) -> EngineConfig:
        retention_ns = optional_duration(self.retention, "retention")
        if retention_ns is not None and retention_ns < _RETENTION_MIN_NS:
            raise ValueError("retention must be at least an hour")
        return EngineConfig(
            cache_bytes_max=self._cache_bytes(),
            workers_died=workers_died,
            prune_every_ns=600_000_000_000,
            retentions={} if retention_ns is None else {namespace: retention_ns},
            learns_search_attributes=True,
        )

    def worker_config(self, *, near: bool) -> WorkerConfig:
        usual = WorkerConfig()
        grace_ns = optional_duration(self.shutdown_grace, "shutdown_grace")
        return WorkerConfig(
            workflow_slots=self.workflow_tasks,
            activity_slots=self.activities,
            # A waiting poll is one future here, and a task that finds one is dispatched without a second commit.
            workflow_polls=self.workflow_tasks if near else usual.workflow_polls,
            activity_polls=self.activities if near else usual.activity_polls,
            fails_repeatedly=near,
            cached_bytes=self._cache_bytes(),
            shutdown_grace_ns=usual.shutdown_grace_ns if grace_ns is None else grace_ns,
        )

    def _cache_bytes(self) -> int:
        """Half for the engine's states, half for the worker's runs."""
        return (self.memory_mb << 20) // 2


def _registry_of(
    workflows: Iterable[WorkflowDefinition[Any, Any]] | None, activities: Iterable[ActivityDefinition[Any, Any]] | None
) -> Registry:
    if workflows is None and activities is None:
        return default_registry
    return Registry(
        default_registry.workflows if workflows is None else workflows,
        default_registry.activities if activities is None else activities,
    )
