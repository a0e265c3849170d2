"""What a client had in the version before under other names."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple, Unpack, overload

from perdure.sdk.client.handle import AsyncWorkflowHandle
from perdure.sdk.client.resets import Step
from perdure.sdk.declare.named import NamedWorkflow
from perdure.sdk.declare.startable import Runs, SignalWithStartOptions, StartableWorkflow
from perdure.sdk.deprecated import instead
from perdure.sdk.option_names import lists_options
from perdure.sdk.policies import IdConflictPolicy, IdReusePolicy, Reapply, WaitFor, waited_for

C = TypeVar("C", bound=type)
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


_BY_ID: Final = ("cancel", "describe", "history", "pause", "query", "signal", "terminate", "unpause", "update")
"""What a handle does, and a client did too."""

_GROUPED: Final = {
    "add_search_attributes": ("search_attributes", "add"),
    "complete_activity": ("activities", "complete"),
    "emit": ("events", "emit"),
    "fail_activity": ("activities", "fail"),
    "heartbeat_activity": ("activities", "heartbeat"),
    "pause_activity": ("activities", "pause"),
    "reset_activity": ("activities", "reset"),
    "stop_listening": ("events", "stop_listening"),
    "unpause_activity": ("activities", "unpause"),
    "update_activity": ("activities", "update_options"),
}
"""What a face of the client does now: its name, and that of the method."""


def with_former_methods(cls: C) -> C:
    """A client, for plain code or not, with methods that it had: they do what a handle or a face does, and say so."""
    for name in _BY_ID:
        setattr(cls, name, instead(f"engine.get(id).{name}(...)", old=f"{name}()")(_by_id(name)))
    for name, (face, method) in _GROUPED.items():
        setattr(cls, name, instead(f"engine.{face}.{method}(...)", old=f"{name}()")(_grouped(face, method)))
    return cls


def _by_id(name: str) -> Callable[..., Any]:
    def of_run(self: Any, id: str, run_id: str | None = None, **options: Any) -> Any:
        return getattr(self.get(id, run_id), name)(**options)

    def of_workflow(self: Any, id: str, *args: Any, run_id: str | None = None, **options: Any) -> Any:
        return getattr(self.get(id, run_id), name)(*args, **options)

    return of_run if name in ("describe", "history") else of_workflow


def _grouped(face: str, name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return getattr(getattr(self, face), name)(*args, **options)

    return method


@lists_options
class Former:
    """Part of `AsyncClient`."""

    if TYPE_CHECKING:

        async def start(self, workflow: Any, *args: Any, **options: Any) -> AsyncWorkflowHandle[Any]: ...
        def get(self, id: str, run_id: str | None = None) -> AsyncWorkflowHandle[Any]: ...

    @overload
    async def signal_with_start(
        self, workflow: NamedWorkflow[R], *args: Any, **options: Unpack[SignalWithStartOptions]
    ) -> AsyncWorkflowHandle[R]: ...
    @overload
    async def signal_with_start(
        self, workflow: StartableWorkflow[*Ts, R], *args: *Ts, **options: Unpack[SignalWithStartOptions]
    ) -> AsyncWorkflowHandle[R]: ...
    @overload
    async def signal_with_start(
        self, workflow: type[Runs[*Ts, Coroutine[Any, Any, R]]], *args: *Ts, **options: Unpack[SignalWithStartOptions]
    ) -> AsyncWorkflowHandle[R]: ...
    @overload
    async def signal_with_start(
        self, workflow: type[Runs[*Ts, R]], *args: *Ts, **options: Unpack[SignalWithStartOptions]
    ) -> AsyncWorkflowHandle[R]: ...
    @overload
    async def signal_with_start(
        self, workflow: str, *args: Any, **options: Unpack[SignalWithStartOptions]
    ) -> AsyncWorkflowHandle[Any]: ...
    @instead("start(..., start_signal=...)")
    async def signal_with_start(
        self,
        workflow: Any,
        *args: Any,
        id: str,
        signal: tuple[Any, Sequence[Any]] | str,
        request_id: str | None = None,
        task_queue: str | None = None,
        id_reuse_policy: IdReusePolicy | str = IdReusePolicy.ALLOW_DUPLICATE,
    ) -> AsyncWorkflowHandle[Any]:
        """See `AsyncClient.start`, which takes `start_signal` and `start_signal_args`."""
        message, values = (signal, ()) if isinstance(signal, str) else signal
        return await self.start(
            workflow,
            *args,
            id=id,
            start_signal=message,
            start_signal_args=values,
            request_id=request_id,
            task_queue=task_queue,
            id_reuse_policy=id_reuse_policy,
        )

    @instead("start(..., start_update=...)")
    async def update_with_start(
        self,
        workflow: StartableWorkflow[*Ts, Any] | type[Runs[*Ts, Any]] | str,
        *args: *Ts,
        id: str,
        update: tuple[Any, Sequence[Any]] | str,
        update_id: str | None = None,
        wait_for: WaitFor | str = WaitFor.COMPLETED,
        returns: Any = Any,
        task_queue: str | None = None,
        id_reuse_policy: IdReusePolicy | str = IdReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy: IdConflictPolicy | str = IdConflictPolicy.USE_EXISTING,
    ) -> Any:
        """See `AsyncClient.start`, which takes `start_update` and `start_update_args`."""
        message, values = (update, ()) if isinstance(update, str) else update
        stage = waited_for(wait_for)
        handle = await self.start(
            workflow,
            *args,
            id=id,
            start_update=message,
            start_update_args=values,
            start_update_id=update_id,
            task_queue=task_queue,
            id_reuse_policy=id_reuse_policy,
            id_conflict_policy=id_conflict_policy,
        )
        sent = handle.update_of_start
        assert sent is not None, "a start with an update has one"
        if returns is not Any:
            sent = handle.update_handle(sent.id, returns=returns)
        return sent if stage is WaitFor.ACCEPTED else await sent.result()

    @instead("engine.get(id).reset(...), which gives back a handle")
    async def reset(
        self,
        id: str,
        *,
        event_id: int | None = None,
        step: Step | None = None,
        nth: int = -1,
        reason: str = "",
        reapply: Reapply | str = Reapply.ALL,
        run_id: str | None = None,
    ) -> str:
        """See `AsyncWorkflowHandle.reset`. Gives back the new run's id."""
        handle = self.get(id, run_id)
        new = await handle.reset(event_id=event_id, step=step, nth=nth, reason=reason, reapply=reapply)
        assert new.run_id is not None
        return new.run_id
