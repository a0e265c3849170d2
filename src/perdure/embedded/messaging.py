"""The part of the blocking engine that is about signals, queries and updates of a workflow that is given by its id."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, TypeVarTuple, Unpack, overload

from perdure.embedded.handles import UpdateHandle, WorkflowHandle
from perdure.sdk.client.message_options import ClientAccepted, ClientCompleted, ClientSignalOptions
from perdure.sdk.option_names import lists_options

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@lists_options
class SyncMessaging:
    """Part of `Engine`."""

    if TYPE_CHECKING:

        def get(self, id: str, run_id: str | None = None) -> WorkflowHandle[Any]: ...

    @overload
    def signal(
        self, id: str, signal: Callable[Concatenate[Any, P], object], *args: P.args, **named: P.kwargs
    ) -> None: ...
    @overload
    def signal(
        self, id: str, signal: Callable[[Any, *Ts], object], *args: *Ts, **options: Unpack[ClientSignalOptions]
    ) -> None: ...
    @overload
    def signal(self, id: str, signal: str, *args: Any, **options: Unpack[ClientSignalOptions]) -> None: ...
    def signal(self, id: str, signal: Any, *args: Any, run_id: str | None = None, **options: Any) -> None:
        """See `AsyncWorkflowHandle.signal`."""
        self.get(id, run_id).signal(signal, *args, **options)

    @overload
    def query(self, id: str, query: Callable[Concatenate[Any, P], T], *args: P.args, **named: P.kwargs) -> T: ...
    @overload
    def query(self, id: str, query: Callable[[Any, *Ts], T], *args: *Ts, run_id: str | None) -> T: ...
    @overload
    def query(self, id: str, query: str, *args: Any, run_id: str | None = None, returns: type[T]) -> T: ...
    @overload
    def query(self, id: str, query: str, *args: Any, run_id: str | None = None, returns: Any = Any) -> Any: ...
    def query(self, id: str, query: Any, *args: Any, run_id: str | None = None, **options: Any) -> Any:
        """See `AsyncWorkflowHandle.query`."""
        return self.get(id, run_id).query(query, *args, **options)

    @overload
    def update(
        self, id: str, update: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], *args: P.args, **named: P.kwargs
    ) -> T: ...
    @overload
    def update(self, id: str, update: Callable[Concatenate[Any, P], T], *args: P.args, **named: P.kwargs) -> T: ...
    @overload
    def update(
        self,
        id: str,
        update: Callable[[Any, *Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        **options: Unpack[ClientAccepted],
    ) -> UpdateHandle[T]: ...
    @overload
    def update(
        self, id: str, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[ClientAccepted]
    ) -> UpdateHandle[T]: ...
    @overload
    def update(
        self,
        id: str,
        update: Callable[[Any, *Ts], Coroutine[Any, Any, T]],
        *args: *Ts,
        **options: Unpack[ClientCompleted],
    ) -> T: ...
    @overload
    def update(self, id: str, update: Callable[[Any, *Ts], T], *args: *Ts, **options: Unpack[ClientCompleted]) -> T: ...
    @overload
    def update(self, id: str, update: str, *args: Any, **options: Unpack[ClientAccepted]) -> UpdateHandle[Any]: ...
    @overload
    def update(self, id: str, update: str, *args: Any, **options: Unpack[ClientCompleted]) -> Any: ...
    def update(self, id: str, update: Any, *args: Any, run_id: str | None = None, **options: Any) -> Any:
        """See `AsyncWorkflowHandle.update`; "accepted" gives back an UpdateHandle."""
        return self.get(id, run_id).update(update, *args, **options)
