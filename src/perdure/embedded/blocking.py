"""`Engine`: an `AsyncEngine` on a loop in a thread of its own, every method bridged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from perdure.embedded.asynchronous import AsyncEngine
from perdure.embedded.forever import LOOK_UP_S, Ending, heard
from perdure.embedded.handles import UpdateHandle, WorkflowHandle
from perdure.embedded.loop_thread import LoopThread
from perdure.embedded.settings import DEFAULT_MEMORY_MB, EngineSeams, seamed
from perdure.interventions import AlertHook, Interventions
from perdure.sdk.client import AsyncUpdateHandle, AsyncWorkflowHandle
from perdure.sdk.client.activities import Activities
from perdure.sdk.client.attributes import SearchAttributeRegistry
from perdure.sdk.client.events import Events
from perdure.sdk.client.former import with_former_methods
from perdure.sdk.client.schedules import Schedules
from perdure.sdk.convert import PayloadCodec
from perdure.sdk.errors import EngineClosedError, EngineError
from perdure.sdk.interceptors import Interceptor
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration

P = ParamSpec("P")
R = TypeVar("R")


def _bridged(
    method: Callable[Concatenate[AsyncEngine, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Engine, P], R]:
    @wraps(method, updated=())
    def bridge(self: Engine, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._call(method(self._engine, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - its bridge

    return bridge


def _bridged_start(
    method: Callable[Concatenate[AsyncEngine, P], Coroutine[Any, Any, AsyncWorkflowHandle[R]]],
) -> Callable[Concatenate[Engine, P], WorkflowHandle[R]]:
    @wraps(method, updated=())
    def bridge(self: Engine, *args: P.args, **kwargs: P.kwargs) -> WorkflowHandle[R]:
        handle = self._call(method(self._engine, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - its bridge
        return WorkflowHandle(self._call, handle)  # pyright: ignore[reportPrivateUsage] - its bridge

    return bridge


def _bridged_update(
    method: Callable[Concatenate[AsyncEngine, P], Coroutine[Any, Any, Any]],
) -> Callable[Concatenate[Engine, P], Any]:
    @wraps(method, updated=())
    def bridge(self: Engine, *args: P.args, **kwargs: P.kwargs) -> Any:
        answer = self._call(method(self._engine, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - its bridge
        if not isinstance(answer, AsyncUpdateHandle):
            return answer
        return UpdateHandle(self._call, cast("AsyncUpdateHandle[Any]", answer))  # pyright: ignore[reportPrivateUsage] - its bridge

    return bridge


@with_former_methods
@lists_options
class Engine:
    """A durable execution engine in this process.

    Args:
        url: the store: "sqlite:///orders.db" (relative), "sqlite:////var/lib/orders.db" (absolute), "memory://";
            or a server: "grpc://host:7233", "grpcs://…" with TLS (`perdure server`, or any of Temporal's API).
        task_queue: which queue this engine's worker serves, and starts on.
        namespace: where its workflows live.
        workflows: what its worker runs, and modules of it; default everything decorated in this process.
        activities: likewise; of an object, its methods that are decorated.
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
        interceptors: code around every call, activity and workflow (`perdure.interceptors`), the first the outermost.

    Every method may be called from any thread. Used as `async with`, it gives an `AsyncEngine`
    on the caller's event loop.

    Raises:
        StoreError: the URL is not understood; the store cannot be opened (in `with` or `open`).
        DefinitionError: two workflows or activities that it is to run have one name.
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
        self._engine = seamed(
            AsyncEngine,
            self._seams,
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
            interceptors=interceptors,
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

    def run_forever(self) -> None:
        """See `AsyncEngine.run_forever`: work until SIGTERM, SIGINT or `close`, then drain and return.

        Engine("sqlite:///orders.db").run_forever()      # or, to do something first: within a `with` block
        """
        if self._thread is None:
            self.open()
        engine, thread = self._engine, self._thread
        assert thread is not None, "it was opened"
        ending = Ending(engine._hurry)  # pyright: ignore[reportPrivateUsage] - its bridge
        with heard(lambda number: thread.call_soon(ending.tell, number)):
            try:
                thread.call(engine._serve(ending), look_up_s=LOOK_UP_S)  # pyright: ignore[reportPrivateUsage] - its bridge
            except EngineClosedError:
                pass  # by another thread, and that is an end like any other
            self.close()

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
    def interventions(self) -> Interventions:
        """What waits for a person's decision."""
        return Interventions(self._engine.interventions, self._call)

    @property
    def activities(self) -> Activities:
        """Activities that have not ended: completed from outside, paused, given other options."""
        return Activities(self._engine.activities, self._call)

    @property
    def events(self) -> Events:
        """Events that workflows subscribe to, or are begun by."""
        return Events(self._engine.events, self._call)

    @property
    def search_attributes(self) -> SearchAttributeRegistry:
        """The names and types by which the namespace's runs can be found."""
        return SearchAttributeRegistry(self._engine.search_attributes, self._call)

    @property
    def schedules(self) -> Schedules:
        """Workflows that start by the clock."""
        return Schedules(self._engine.schedules, self._call)

    def get(self, id: str, run_id: str | None = None, *, result_type: Any = Any) -> WorkflowHandle[Any]:
        """See `Client.get`."""
        return WorkflowHandle(self._call, self._engine.get(id, run_id, result_type=result_type))

    run = _bridged(AsyncEngine.run)
    start = _bridged_start(AsyncEngine.start)
    signal_with_start = _bridged_start(AsyncEngine.signal_with_start)
    update_with_start = _bridged_update(AsyncEngine.update_with_start)
    reset = _bridged(AsyncEngine.reset)
    list = _bridged(AsyncEngine.list)
    count = _bridged(AsyncEngine.count)
    count_by_status = _bridged(AsyncEngine.count_by_status)
    check_replay = _bridged(AsyncEngine.check_replay)
