"""`Engine`: an `AsyncEngine` on a loop in a thread of its own, every method bridged."""

from __future__ import annotations

import threading
from collections.abc import Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any, TypeVar

from perdure.embedded.asynchronous import AsyncEngine
from perdure.embedded.client import Client
from perdure.embedded.forever import Ending
from perdure.embedded.loop_thread import LoopThread
from perdure.embedded.settings import DEFAULT_MEMORY_MB, EngineSeams, seamed, takes_former_seams
from perdure.interventions import AlertHook
from perdure.sdk.connection.tls import TLSConfig
from perdure.sdk.convert import PayloadCodec
from perdure.sdk.errors import EngineClosedError, EngineError
from perdure.sdk.interceptors import Interceptor
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration

R = TypeVar("R")


@takes_former_seams
@lists_options
class Engine(Client):
    """A durable execution engine in this process.

    Args:
        url: the store: "sqlite:///orders.db" (relative), "sqlite:////var/lib/orders.db" (absolute), "memory://";
            or a server: "grpc://host:7233", "grpcs://…" with TLS (`perdure server`, or any of Temporal's API).
        task_queue: which queue this engine's worker serves, and starts on.
        task_queues: instead of it several, each with a worker of its own, which has the bounds below for itself; the
            first is the one that is started on.
        namespace: where its workflows live.
        workflows: what its worker runs, and modules of it; default everything decorated in this process.
        activities: likewise; of an object, its methods that are decorated.
        identity: how history names it; default `pid@host`.
        codec: applied to all payloads, e.g. to encrypt them.
        max_concurrent_activities: attempts running at once, also the most threads for `def` activities.
        max_concurrent_workflow_tasks: workflow tasks in hand at once.
        memory_limit_mb: what its caches may take together, in MB; beyond it runs are kept on disk alone. With 128 a
            process in which very many fall asleep takes less than 300 MB in all.
        worker: False to look and steer only, running nothing.
        shutdown_grace: how long `close` waits for running activities; default 5 s.
        retention: how long closed executions are kept in the store, at least "1h"; default what the namespace was told
            before, at first 30 days. A server keeps its own.
        alert: who is told of an intervention: a command line (the entry as JSON on its standard input), an
            http(s) URL (the entry is POSTed), or a function of the entry. Default a warning in the log.
        interceptors: code around every call, activity and workflow (`perdure.interceptors`), the first the outermost.
        tls: of a "grpcs://" server: whom to trust, and what certificate to show; default whom this machine trusts.
        api_key: of a server: who is asking, proved; sent with every call.

    Every method may be called from any thread. Used as `async with`, it gives an `AsyncEngine`
    on the caller's event loop.

    Raises:
        StoreError: the URL is not understood; the store cannot be opened (in `with` or `open`).
        ValueError: `tls` or `api_key` do not go with the URL.
        DefinitionError: two workflows or activities that it is to run have one name.
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
        self._client = self._engine = seamed(
            AsyncEngine,
            self._seams,
            url,
            task_queue=task_queue,
            task_queues=task_queues,
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
            tls=tls,
            api_key=api_key,
        )
        self._thread = None
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
        ending = Ending(self._engine._hurry)  # pyright: ignore[reportPrivateUsage] - its bridge
        self._call_until_told(ending, self._engine._serve(ending))  # pyright: ignore[reportPrivateUsage] - its bridge
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
