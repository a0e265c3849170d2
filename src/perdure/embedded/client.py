"""`Client`: an `AsyncClient` on a loop in a thread of its own, every method bridged; an `Engine` is one as well."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, cast

from perdure.embedded.forever import LOOK_UP_S, Ending, heard
from perdure.embedded.handles import UpdateHandle, WorkflowHandle
from perdure.embedded.loop_thread import LoopThread
from perdure.interventions import AsyncInterventions, Interventions
from perdure.sdk.client import AsyncClient, AsyncUpdateHandle, AsyncWorkflowHandle
from perdure.sdk.client.activities import Activities
from perdure.sdk.client.attributes import SearchAttributeRegistry
from perdure.sdk.client.enlisting import refuse_awaited
from perdure.sdk.client.events import Events
from perdure.sdk.client.former import with_former_methods
from perdure.sdk.client.schedules import Schedules
from perdure.sdk.connection.tls import TLSConfig
from perdure.sdk.convert import PayloadCodec
from perdure.sdk.deprecated import FormerlyAsync, as_former, deprecated
from perdure.sdk.errors import EngineClosedError
from perdure.sdk.interceptors import Interceptor
from perdure.sdk.option_names import lists_options

P = ParamSpec("P")
R = TypeVar("R")


def _bridged(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Client, P], R]:
    @wraps(method, updated=())
    def bridge(self: Client, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._call(method(self._client, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - its bridge

    return as_former(method, bridge)


def _bridged_start(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, AsyncWorkflowHandle[R]]],
) -> Callable[Concatenate[Client, P], WorkflowHandle[R]]:
    @wraps(method, updated=())
    def bridge(self: Client, *args: P.args, **kwargs: P.kwargs) -> WorkflowHandle[R]:
        refuse_awaited(kwargs.get("connection"))
        handle = self._call(method(self._client, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - its bridge
        return WorkflowHandle(self._call, handle)  # pyright: ignore[reportPrivateUsage] - its bridge

    return as_former(method, bridge)


def _bridged_update(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, Any]],
) -> Callable[Concatenate[Client, P], Any]:
    @wraps(method, updated=())
    def bridge(self: Client, *args: P.args, **kwargs: P.kwargs) -> Any:
        answer = self._call(method(self._client, *args, **kwargs))  # pyright: ignore[reportPrivateUsage] - its bridge
        if not isinstance(answer, AsyncUpdateHandle):
            return answer
        return UpdateHandle(self._call, cast("AsyncUpdateHandle[Any]", answer))  # pyright: ignore[reportPrivateUsage] - its bridge

    return as_former(method, bridge)


@with_former_methods
@lists_options
class Client(metaclass=FormerlyAsync):
    """A client of a server, for plain code: `with Client.connect("grpc://host:7233") as client: ...`.

    Every method may be called from any thread, and blocks; `AsyncClient` awaits.
    """

    awaits = AsyncClient

    _client: AsyncClient
    _thread: LoopThread | None
    _url: str

    if not TYPE_CHECKING:

        def __new__(cls, *args: Any, **options: Any) -> Any:
            """Of the version before: `Client(connection, ...)` made a client that awaits, and still does."""
            if cls is not Client:
                return super().__new__(cls)
            deprecated("Client(connection, ...), which awaits,", "AsyncClient(connection, ...)")
            new_id = options.pop("new_id", None)
            client = AsyncClient(*args, **options)
            if new_id is not None:
                client._reach.new_id = new_id
            return client

    @staticmethod
    def connect(
        url: str,
        *,
        namespace: str = "default",
        task_queue: str = "default",
        codec: PayloadCodec | None = None,
        identity: str | None = None,
        interceptors: Sequence[Interceptor] = (),
        tls: TLSConfig | None = None,
        api_key: str | None = None,
    ) -> Client:
        """Connect to a server. Arguments and errors as of `AsyncClient.connect`; close it in the end, or use `with`."""
        thread = LoopThread(f"perdure-client {url}", "client")
        client = object.__new__(Client)
        try:
            client._client = thread.call(
                AsyncClient.connect(
                    url,
                    namespace=namespace,
                    task_queue=task_queue,
                    codec=codec,
                    identity=identity,
                    interceptors=interceptors,
                    tls=tls,
                    api_key=api_key,
                )
            )
        except BaseException:
            thread.stop()
            raise
        client._thread, client._url = thread, url
        return client

    def close(self) -> None:
        """See `AsyncClient.close`. Idempotent, from any thread."""
        thread = self._thread
        if thread is None or not thread.is_running:
            return
        try:
            thread.call(self._client.close())
        finally:
            thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _thread_runs(self) -> bool:
        """Whether it can be asked."""
        return self._thread is not None and self._thread.is_running

    def _call(self, work: Coroutine[Any, Any, R]) -> R:
        thread = self._thread
        if thread is None or not thread.is_running:
            work.close()
            raise EngineClosedError(f"the client of {self._url} is closed")
        return thread.call(work)

    def _call_until_told(self, ending: Ending, work: Coroutine[Any, Any, None]) -> None:
        """Run what ends when it is told to: by a signal, or by another thread that closes what it works with."""
        thread = self._thread
        assert thread is not None, "it was opened"
        with heard(lambda number: thread.call_soon(ending.tell, number)):
            try:
                thread.call(work, look_up_s=LOOK_UP_S)
            except EngineClosedError:
                pass  # that is an end like any other

    @property
    def activities(self) -> Activities:
        """Activities that have not ended: completed from outside, paused, given other options."""
        return Activities(self._client.activities, self._call)

    @property
    def events(self) -> Events:
        """Events that workflows subscribe to, or are begun by."""
        return Events(self._client.events, self._call)

    @property
    def interventions(self) -> Interventions:
        """What waits for a person's decision."""
        return Interventions(AsyncInterventions(self._client), self._call)

    @property
    def search_attributes(self) -> SearchAttributeRegistry:
        """The names and types by which the namespace's runs can be found."""
        return SearchAttributeRegistry(self._client.search_attributes, self._call)

    @property
    def schedules(self) -> Schedules:
        """Workflows that start by the clock."""
        return Schedules(self._client.schedules, self._call)

    def get(self, id: str, run_id: str | None = None, *, result_type: Any = Any) -> WorkflowHandle[Any]:
        """See `AsyncClient.get`."""
        return WorkflowHandle(self._call, self._client.get(id, run_id, result_type=result_type))

    run = _bridged(AsyncClient.run)
    start = _bridged_start(AsyncClient.start)
    if not TYPE_CHECKING:
        signal_with_start = _bridged_start(AsyncClient.signal_with_start)
        update_with_start = _bridged_update(AsyncClient.update_with_start)
        reset = _bridged(AsyncClient.reset)
    list = _bridged(AsyncClient.list)
    count = _bridged(AsyncClient.count)
    count_by_status = _bridged(AsyncClient.count_by_status)
    check_replay = _bridged(AsyncClient.check_replay)
