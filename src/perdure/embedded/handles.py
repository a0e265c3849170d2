"""Handles whose methods block: what the blocking engine gives out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, TypeVarTuple, Unpack, cast, overload

from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.client import AsyncUpdateHandle, AsyncWorkflowHandle, WorkflowDescription
from perdure.sdk.client.enlisting import refuse_awaited
from perdure.sdk.client.message_options import Accepted, Awaited, Completed, Identified, SignalOptions
from perdure.sdk.client.resets import Step
from perdure.sdk.declare.handlers import UpdateMethod
from perdure.sdk.deprecated import FormerlyAsync
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration
from perdure.sdk.policies import Reapply

R = TypeVar("R")
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Call = Callable[[Coroutine[Any, Any, Any]], Any]
"""How an engine runs a coroutine of its own, and waits."""


@lists_options
class WorkflowHandle(Generic[R], metaclass=FormerlyAsync):
    """An `AsyncWorkflowHandle` whose methods block. `id` and `run_id` as there."""

    awaits = AsyncWorkflowHandle

    def __init__(self, call: Call, handle: AsyncWorkflowHandle[R]) -> None:
        self._call = call
        self._handle = handle
        self.id = handle.id
        self.run_id = handle.run_id

    def __repr__(self) -> str:
        return repr(self._handle)

    @property
    def update_of_start(self) -> UpdateHandle[Any] | None:
        """The update that went along with the start (`start_update`); None without one."""
        sent = self._handle.update_of_start
        return None if sent is None else UpdateHandle(self._call, sent)

    def result(self, timeout: Duration | None = None) -> R:
        """See `AsyncWorkflowHandle.result`."""
        return self._call(self._handle.result(timeout))

    def describe(self, *, stack: bool = True) -> WorkflowDescription:
        """See `AsyncWorkflowHandle.describe`."""
        return self._call(self._handle.describe(stack=stack))

    def history(self) -> list[HistoryEvent]:
        """See `AsyncWorkflowHandle.history`."""
        return self._call(self._handle.history())

    def pause(self, reason: str = "") -> None:
        """See `AsyncWorkflowHandle.pause`."""
        self._call(self._handle.pause(reason))

    def unpause(self, reason: str = "") -> None:
        """See `AsyncWorkflowHandle.unpause`."""
        self._call(self._handle.unpause(reason))

    def reset(
        self,
        *,
        event_id: int | None = None,
        step: Step | None = None,
        nth: int = -1,
        reason: str = "",
        reapply: Reapply | str = Reapply.ALL,
    ) -> WorkflowHandle[R]:
        """See `AsyncWorkflowHandle.reset`. Gives back a handle to the new run."""
        work = self._handle.reset(event_id=event_id, step=step, nth=nth, reason=reason, reapply=reapply)
        return WorkflowHandle(self._call, self._call(work))

    @overload
    def signal(self, signal: Callable[Concatenate[Any, P], object], *args: P.args, **named: P.kwargs) -> None: ...
    @overload
    def signal(self, signal: Callable[[Any, *Ts], object], *args: *Ts, **options: Unpack[SignalOptions]) -> None: ...
    @overload
    def signal(self, signal: str, *args: Any, **options: Unpack[SignalOptions]) -> None: ...
    def signal(self, signal: Any, *args: Any, **options: Any) -> None:
        """See `AsyncWorkflowHandle.signal`."""
        refuse_awaited(options.get("connection"))
        self._call(self._handle.signal(signal, *args, **options))

    @overload
    def query(self, query: Callable[Concatenate[Any, P], T], *args: P.args, **named: P.kwargs) -> T: ...
    @overload
    def query(self, query: str, *args: Any, returns: type[T]) -> T: ...
    @overload
    def query(self, query: str, *args: Any, returns: Any = Any) -> Any: ...
    def query(self, query: Any, *args: Any, **options: Any) -> Any:
        """See `AsyncWorkflowHandle.query`."""
        return self._call(self._handle.query(query, *args, **options))

    @overload
    def update(self, update: UpdateMethod[Concatenate[Any, P], Any, T], *args: P.args, **named: P.kwargs) -> T: ...
    @overload
    def update(
        self, update: Callable[[Any, *Ts], Coroutine[Any, Any, T]], *args: *Ts, **options: Unpack[Accepted]
    ) -> UpdateHandle[T]: ...
    @overload
    def update(self, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[Accepted]) -> UpdateHandle[T]: ...
    @overload
    def update(
        self, update: Callable[[Any, *Ts], Coroutine[Any, Any, T]], *args: *Ts, **options: Unpack[Identified]
    ) -> T: ...
    @overload
    def update(self, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[Identified]) -> T: ...
    @overload
    def update(
        self, update: Callable[[Any, *Ts], Coroutine[Any, Any, T]], *args: *Ts, **options: Unpack[Awaited]
    ) -> T: ...
    @overload
    def update(self, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[Awaited]) -> T: ...
    @overload
    def update(self, update: str, *args: Any, **options: Unpack[Accepted]) -> UpdateHandle[Any]: ...
    @overload
    def update(self, update: str, *args: Any, **options: Unpack[Completed]) -> Any: ...
    def update(self, update: Any, *args: Any, **options: Any) -> Any:
        """See `AsyncWorkflowHandle.update`; "accepted" gives back an UpdateHandle."""
        answer = self._call(self._handle.update(update, *args, **options))
        if isinstance(answer, AsyncUpdateHandle):
            return UpdateHandle(self._call, cast("AsyncUpdateHandle[Any]", answer))
        return answer

    def update_handle(self, update_id: str, *, returns: Any = Any) -> UpdateHandle[Any]:
        """See `AsyncWorkflowHandle.update_handle`."""
        return UpdateHandle(self._call, self._handle.update_handle(update_id, returns=returns))

    def cancel(self, reason: str = "") -> None:
        """See `AsyncWorkflowHandle.cancel`."""
        self._call(self._handle.cancel(reason))

    def terminate(self, reason: str = "") -> None:
        """See `AsyncWorkflowHandle.terminate`."""
        self._call(self._handle.terminate(reason))


@lists_options
class UpdateHandle(Generic[R], metaclass=FormerlyAsync):
    """An `AsyncUpdateHandle` whose method blocks. `id`, `workflow_id` and `run_id` as there."""

    awaits = AsyncUpdateHandle

    def __init__(self, call: Call, handle: AsyncUpdateHandle[R]) -> None:
        self._call = call
        self._handle = handle
        self.id = handle.id
        self.workflow_id = handle.workflow_id
        self.run_id = handle.run_id

    def __repr__(self) -> str:
        return repr(self._handle)

    def result(self, timeout: Duration | None = None) -> R:
        """See `AsyncUpdateHandle.result`."""
        return self._call(self._handle.result(timeout))
