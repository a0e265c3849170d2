"""Workers: those of an engine, one for each task queue, and `AsyncWorker` and `Worker`, which stand by themselves.

A worker by itself runs what an engine's would: beside the workflows and activities of the user the hubs of events, and
the alert of interventions. It asks a server through its client, which it shares with whoever starts workflows there.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.embedded.client import Client
from perdure.embedded.forever import Ending, listening, told
from perdure.events import with_hub
from perdure.interventions import AlertHook, alerting
from perdure.sdk.client import AsyncClient
from perdure.sdk.client.calls import Reach
from perdure.sdk.client.events import listen
from perdure.sdk.connection.protocol import Connection, NearConnection
from perdure.sdk.connection.tls import TLSConfig
from perdure.sdk.convert import PayloadCodec
from perdure.sdk.declare.definitions import Registry, default_registry
from perdure.sdk.deprecated import FormerlyAsync, deprecated
from perdure.sdk.errors import EngineError
from perdure.sdk.interceptors import Interceptor, checked_interceptors
from perdure.sdk.option_names import lists_options
from perdure.sdk.texts import check_text
from perdure.sdk.worker import QueueWorker, WorkerConfig
from perdure.sdk.worker.config import Footing

R = TypeVar("R")


def registry_of(
    workflows: Iterable[object] | None, activities: Iterable[object] | None, alert: AlertHook | None
) -> Registry:
    """What a worker runs. Raises DefinitionError."""
    real = default_registry
    if workflows is not None or activities is not None:
        real = Registry(
            default_registry.workflows if workflows is None else workflows,
            default_registry.activities if activities is None else activities,
        )
    return with_hub(alerting(real, alert))


def queues_of(task_queue: str, task_queues: Sequence[str]) -> Sequence[str]:
    """The task queues of an engine, the one that it starts on first. Raises ValueError, TypeError."""
    if isinstance(task_queues, str):
        raise TypeError(f"task_queues must be a sequence of names, such as [{task_queues!r}], not a text")
    if not task_queues:
        return (task_queue,)
    if task_queue != "default":
        raise ValueError("an engine has a task_queue or task_queues, not both: write all of them into task_queues")
    for queue in task_queues:
        check_text(queue, "task_queues")
    return tuple(dict.fromkeys(task_queues))


async def listen_to_events(reach: Reach, task_queue: str, registry: Registry) -> None:
    """Have the hubs start what `@on_event` is said of."""
    await listen(reach, task_queue, [definition for definition in registry.workflows.all() if definition.events])


class Workers:
    """The workers of one engine, which start and stop together. Attributes: `names`: of their task queues."""

    def __init__(self, workers: Iterable[QueueWorker]) -> None:
        self._workers = tuple(workers)
        self.names = tuple(worker.name.task_queue for worker in self._workers)

    async def start(self) -> None:
        """Raises as `QueueWorker.start`; those that have started are to be stopped then."""
        for worker in self._workers:
            await worker.start()

    async def stop(self, *, at_once: bool = False) -> None:
        """All at the same time. Idempotent."""
        await asyncio.gather(*(worker.stop(at_once=at_once) for worker in self._workers))

    def hurry(self) -> None:
        """Have `stop` wait for nothing that runs."""
        for worker in self._workers:
            worker.hurry()

    def move(self, connection: Connection) -> None:
        """Take tasks from there from now on."""
        for worker in self._workers:
            worker.move(connection)


@lists_options
class AsyncWorker:
    """A worker for one task queue of a server, on the caller's event loop.

        client = await AsyncClient.connect("grpc://host:7233")
        await AsyncWorker(client, task_queue="orders", workflows=[order], activities=[charge]).run()

    Args:
        client: whose server, namespace, codec and identity it has, and whose interceptors. An `AsyncEngine` will do.
        task_queue: whose tasks it runs; default the client's.
        workflows: what it runs, and modules of it; default everything decorated in this process.
        activities: likewise; of an object, its methods that are decorated.
        config: bounds and time-outs.
        alert: who is told of an intervention, as of an `Engine`.
        interceptors: around activities and workflows, within those of the client.

    Raises:
        DefinitionError: two workflows or activities that it is to run have one name; an alert that is none.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        task_queue: str | None = None,
        workflows: Iterable[object] | None = None,
        activities: Iterable[object] | None = None,
        config: WorkerConfig | None = None,
        alert: AlertHook | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        kind: type[Any] = type(client)
        if not issubclass(kind, AsyncClient):
            raise TypeError(f"an AsyncWorker takes an AsyncClient, not {client!r}; Worker takes what blocks")
        self._reach = reach = client._reach  # pyright: ignore[reportPrivateUsage] - the worker beside it
        self._beside = client._working  # pyright: ignore[reportPrivateUsage]
        around = client._interceptors  # pyright: ignore[reportPrivateUsage]
        self._registry = registry_of(workflows, activities, alert)
        self._worker = QueueWorker(
            reach.connection,
            task_queue or client._task_queue,  # pyright: ignore[reportPrivateUsage]
            self._registry,
            namespace=reach.namespace,
            converter=reach.converter,
            config=config,
            identity=reach.identity,
            interceptors=[*around, *checked_interceptors(interceptors)],
            # A far server paces the attempts of a workflow task, a near one leaves that to the worker.
            footing=Footing(fails_repeatedly=isinstance(reach.connection, NearConnection)),
        )
        self._owned: AsyncClient | None = None
        self._has_begun = False
        self._stopped = asyncio.Event()
        self._stopping = asyncio.Lock()

    @staticmethod
    async def connect(
        url: str,
        *,
        task_queue: str = "default",
        workflows: Iterable[object] | None = None,
        activities: Iterable[object] | None = None,
        config: WorkerConfig | None = None,
        alert: AlertHook | None = None,
        namespace: str = "default",
        codec: PayloadCodec | None = None,
        identity: str | None = None,
        interceptors: Sequence[Interceptor] = (),
        tls: TLSConfig | None = None,
        api_key: str | None = None,
    ) -> AsyncWorker:
        """A worker with a client of its own, which `stop` closes. Arguments and errors are those of both."""
        client = await AsyncClient.connect(
            url,
            namespace=namespace,
            task_queue=task_queue,
            codec=codec,
            identity=identity,
            interceptors=interceptors,
            tls=tls,
            api_key=api_key,
        )
        try:
            worker = AsyncWorker(client, workflows=workflows, activities=activities, config=config, alert=alert)
        except BaseException:
            await client.close()
            raise
        worker._owned = client
        return worker

    @property
    def task_queue(self) -> str:
        """Whose tasks it runs."""
        return self._worker.name.task_queue

    async def start(self) -> None:
        """Begin to work.

        Raises:
            EngineError: the namespace does not exist, or the server is not to be reached; it was started before.
            DefinitionError: it is to run everything decorated, and two of those have one name.
        """
        if self._has_begun:
            raise EngineError("the worker was started before; make a new one")
        self._has_begun = True
        self._beside.add(self)
        try:
            await self._worker.start()
            await listen_to_events(self._reach, self.task_queue, self._registry)
        except BaseException:
            await self.stop(at_once=True)
            raise

    async def stop(self, *, at_once: bool = False) -> None:
        """Take no new task, let running activities end within the grace period, and stop. Idempotent.

        Args:
            at_once: do not wait for running activities.
        """
        self._stopped.set()
        if at_once:
            self._worker.hurry()  # whoever is stopping it already
        async with self._stopping:
            await self._worker.stop(at_once=at_once)
            self._beside.discard(self)
            owned, self._owned = self._owned, None
            if owned is not None:
                await owned.close()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT comes, or until `stop`; then stop, as `stop` does.

        Told once, it takes no new task and lets running activities end within the grace period; told again, it stops
        at once. It starts a worker that is not started. Beside the main thread it hears no signals. Raises as `start`.
        """
        if not self._has_begun:
            await self.start()
        ending = Ending(self._worker.hurry)
        await listening(ending, self._serve(ending))

    async def _serve(self, ending: Ending) -> None:
        await told(ending, self._stopped)
        await self.stop()

    async def __aenter__(self) -> AsyncWorker:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(at_once=kind is not None and not issubclass(kind, Exception))


@lists_options
class Worker(metaclass=FormerlyAsync):
    """A worker for one task queue of a server, for plain code.

        client = Client.connect("grpc://host:7233")
        Worker(client, task_queue="orders", workflows=[order], activities=[charge]).run()

    It works in its client's thread. Arguments and errors as of `AsyncWorker`; `client` is a `Client`, or an `Engine`.
    """

    awaits = QueueWorker

    if not TYPE_CHECKING:

        def __new__(cls, client: Any = None, *args: Any, **options: Any) -> Any:
            """Of the version before: `Worker(connection, ...)` made a worker that awaits, and still does."""
            connection = options.get("connection", client)
            if connection is None or issubclass(type(connection), (Client, AsyncClient)):
                return super().__new__(cls)
            deprecated("Worker(connection, ...), which awaits,", "AsyncWorker(client, ...)")
            given = args if client is None else (client, *args)
            return QueueWorker(*given, **options)

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str | None = None,
        workflows: Iterable[object] | None = None,
        activities: Iterable[object] | None = None,
        config: WorkerConfig | None = None,
        alert: AlertHook | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        kind: type[Any] = type(client)
        if not issubclass(kind, Client):
            raise TypeError(f"a Worker takes a Client, which blocks, not {client!r}; AsyncWorker takes an AsyncClient")
        self._client = client
        self._worker = AsyncWorker(
            client._client,  # pyright: ignore[reportPrivateUsage] - its bridge
            task_queue=task_queue,
            workflows=workflows,
            activities=activities,
            config=config,
            alert=alert,
            interceptors=interceptors,
        )
        self._owns = False

    @staticmethod
    def connect(
        url: str,
        *,
        task_queue: str = "default",
        workflows: Iterable[object] | None = None,
        activities: Iterable[object] | None = None,
        config: WorkerConfig | None = None,
        alert: AlertHook | None = None,
        namespace: str = "default",
        codec: PayloadCodec | None = None,
        identity: str | None = None,
        interceptors: Sequence[Interceptor] = (),
        tls: TLSConfig | None = None,
        api_key: str | None = None,
    ) -> Worker:
        """A worker with a client of its own, which `stop` closes. Arguments and errors are those of both."""
        client = Client.connect(
            url,
            namespace=namespace,
            task_queue=task_queue,
            codec=codec,
            identity=identity,
            interceptors=interceptors,
            tls=tls,
            api_key=api_key,
        )
        try:
            worker = Worker(client, workflows=workflows, activities=activities, config=config, alert=alert)
        except BaseException:
            client.close()
            raise
        worker._owns = True
        return worker

    @property
    def task_queue(self) -> str:
        """Whose tasks it runs."""
        return self._worker.task_queue

    def start(self) -> None:
        """Begin to work; returns at once. Raises as `AsyncWorker.start`."""
        try:
            self._ask(self._worker.start())
        except BaseException:
            self._close()
            raise

    def stop(self, *, at_once: bool = False) -> None:
        """See `AsyncWorker.stop`. Idempotent, from any thread."""
        if not self._owns or self._client._thread_runs():  # pyright: ignore[reportPrivateUsage] - its bridge
            self._ask(self._worker.stop(at_once=at_once))
        self._close()

    def run(self) -> None:
        """See `AsyncWorker.run`: work until SIGTERM, SIGINT or `stop`, then drain and return."""
        if not self._worker._has_begun:  # pyright: ignore[reportPrivateUsage] - its bridge
            self.start()
        ending = Ending(self._worker._worker.hurry)  # pyright: ignore[reportPrivateUsage]
        self._client._call_until_told(ending, self._worker._serve(ending))  # pyright: ignore[reportPrivateUsage]
        self._close()

    def _ask(self, work: Coroutine[Any, Any, R]) -> R:
        return self._client._call(work)  # pyright: ignore[reportPrivateUsage] - its bridge

    def _close(self) -> None:
        if self._owns:
            self._client.close()

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(at_once=kind is not None and not issubclass(kind, Exception))


# What `__new__` takes beside is of the version before, and for nobody to see.
_signature = inspect.signature(Worker.__init__)
Worker.__signature__ = _signature.replace(parameters=list(_signature.parameters.values())[1:])  # pyright: ignore[reportAttributeAccessIssue]
