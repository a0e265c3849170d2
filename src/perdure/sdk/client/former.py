"""What a client had in the version before under other names."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack, overload

from perdure.sdk.client.handle import AsyncWorkflowHandle
from perdure.sdk.client.messages import WaitFor, waited_for
from perdure.sdk.declare.named import NamedWorkflow
from perdure.sdk.declare.startable import Runs, SignalWithStartOptions, StartableWorkflow
from perdure.sdk.deprecated import instead
from perdure.sdk.option_names import lists_options
from perdure.sdk.policies import IdConflictPolicy, IdReusePolicy

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


@lists_options
class Former:
    """Part of `Client`."""

    if TYPE_CHECKING:

        async def start(self, workflow: Any, *args: Any, **options: Any) -> AsyncWorkflowHandle[Any]: ...

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
        """See `Client.start`, which takes `start_signal` and `start_signal_args`."""
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
        wait_for: WaitFor = "completed",
        returns: Any = Any,
        task_queue: str | None = None,
        id_reuse_policy: IdReusePolicy | str = IdReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy: IdConflictPolicy | str = IdConflictPolicy.USE_EXISTING,
    ) -> Any:
        """See `Client.start`, which takes `start_update` and `start_update_args`."""
        message, values = (update, ()) if isinstance(update, str) else update
        wait_for = waited_for(wait_for)
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
        return sent if wait_for == "accepted" else await sent.result()
