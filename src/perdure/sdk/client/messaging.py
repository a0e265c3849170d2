"""The part of the client that is about signals, queries and updates of a workflow that is given by its id."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, TypeVarTuple, Unpack, overload

from perdure.sdk.client.calls import Reach
from perdure.sdk.client.handle import AsyncWorkflowHandle
from perdure.sdk.client.message_options import ClientAccepted, ClientCompleted, ClientSignalOptions
from perdure.sdk.client.messages import AsyncUpdateHandle
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.option_names import lists_options

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@lists_options
@sends_texts
class Messaging:
    """Part of `Client`."""

    _reach: Reach

    @overload
    async def signal(
        self, id: str, signal: Callable[Concatenate[Any, P], object], *args: P.args, **named: P.kwargs
    ) -> None: ...
    @overload
    async def signal(
        self, id: str, signal: Callable[[Any, *Ts], object], *args: *Ts, **options: Unpack[ClientSignalOptions]
    ) -> None: ...
    @overload
    async def signal(self, id: str, signal: str, *args: Any, **options: Unpack[ClientSignalOptions]) -> None: ...
    async def signal(self, id: str, signal: Any, *args: Any, run_id: str | None = None, **options: Any) -> None:
        """See `AsyncWorkflowHandle.signal`."""
        await self._handle(id, run_id).signal(signal, *args, **options)

    @overload
    async def query(self, id: str, query: Callable[Concatenate[Any, P], T], *args: P.args, **named: P.kwargs) -> T: ...
    @overload
    async def query(self, id: str, query: Callable[[Any, *Ts], T], *args: *Ts, run_id: str | None) -> T: ...
    @overload
    async def query(self, id: str, query: str, *args: Any, run_id: str | None = None, returns: type[T]) -> T: ...
    @overload
    async def query(self, id: str, query: str, *args: Any, run_id: str | None = None, returns: Any = Any) -> Any: ...
    async def query(self, id: str, query: Any, *args: Any, run_id: str | None = None, **options: Any) -> Any:
        """See `AsyncWorkflowHandle.query`."""
        return await self._handle(id, run_id).query(query, *args, **options)

    @overload
    async def update(
        self, id: str, update: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], *args: P.args, **named: P.kwargs
    ) -> T: ...
    @overload
    async def update(
        self, id: str, update: Callable[Concatenate[Any, P], T], *args: P.args, **named: P.kwargs
    ) -> T: ...
    @overload
    async def update(
        self,
        id: str,
        update: Callable[[Any, *Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        **options: Unpack[ClientAccepted],
    ) -> AsyncUpdateHandle[T]: ...
    @overload
    async def update(
        self, id: str, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[ClientAccepted]
    ) -> AsyncUpdateHandle[T]: ...
    @overload
    async def update(
        self,
        id: str,
        update: Callable[[Any, *Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        **options: Unpack[ClientCompleted],
    ) -> T: ...
    @overload
    async def update(
        self, id: str, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[ClientCompleted]
    ) -> T: ...
    @overload
    async def update(
        self, id: str, update: str, *args: Any, **options: Unpack[ClientAccepted]
    ) -> AsyncUpdateHandle[Any]: ...
    @overload
    async def update(self, id: str, update: str, *args: Any, **options: Unpack[ClientCompleted]) -> Any: ...
    async def update(self, id: str, update: Any, *args: Any, run_id: str | None = None, **options: Any) -> Any:
        """See `AsyncWorkflowHandle.update`."""
        return await self._handle(id, run_id).update(update, *args, **options)

    def _handle(self, id: str, run_id: str | None) -> AsyncWorkflowHandle[Any]:
        return AsyncWorkflowHandle(self._reach, id, run_id)
