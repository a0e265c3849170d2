"""What every call passes before its handler, from wherever it comes: a transport, this process, a schedule, a batch.

    well formed? -> which namespaces? -> interceptor ... interceptor -> is the namespace there? -> handler

The checks are plain calls and the interceptors coroutines, and both are put together once for each RPC when the
server starts: with no interceptor a call costs this one function more than its handler. What a field may mean is the
handler's to judge. Here is where authentication, quotas, audit and tracing dock (ADR 0019).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import CoroutineType
from typing import Any, Protocol, TypeVar, cast

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from perdure.api import bounds
from perdure.api.errors import Rejected
from perdure.core.limits import DEFAULT_LIMITS, Limits
from perdure.core.principal import Principal
from perdure.engine.engine import Engine
from perdure.engine.namespaces import Namespaces
from perdure.engine.records.front import Act, Let
from perdure.frontend.calls import Call, Handler, Interceptor, Origin, Proceed
from perdure.frontend.edge import invalid
from perdure.frontend.reach import namespaces_of, naming_of
from perdure.frontend.rpcs import SERVICES

Request = TypeVar("Request", contravariant=True)
Response = TypeVar("Response", covariant=True)

_METHODS: dict[str, MethodDescriptor] = {
    method.name: method for service in SERVICES.values() for method in service.methods
}


_OF_SCHEDULES = ("StartWorkflowExecution", "RequestCancelWorkflowExecution", "TerminateWorkflowExecution")
"""What a schedule does to workflows. A batch operation calls RPCs, and so passes their chain."""


class Served(Protocol[Request, Response]):
    """An RPC behind its chain. Without a call, who asks is in this process."""

    def __call__(self, request: Request, call: Call | None = None) -> CoroutineType[Any, Any, Response]: ...


Gate = Callable[[Any, Call, Callable[[Any, Call], Any]], Any]
"""An RPC's chain, given request, call and handler."""


class Chain:
    """Of one engine, or of a server without namespaces. `interceptors`: the first is asked first."""

    def __init__(
        self, engine: Engine | None, interceptors: Sequence[Interceptor] = (), limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.interceptors = tuple(interceptors)
        self._limits = limits if engine is None else engine.config.limits
        self._namespaces = None if engine is None else engine.namespaces

    def serve(
        self, rpc: str, handler: Callable[[Request, Call], CoroutineType[Any, Any, Response]]
    ) -> Served[Request, Response]:
        """The handler of this RPC, behind the chain."""
        return cast("Served[Request, Response]", self._put_before(rpc, handler, _refused))

    def gate(self, rpc: str) -> Gate:
        """The chain of this RPC for a handler that is said with each call. Without interceptors the handler's result
        is returned as it is, and a refusal raised at once; with them it is a coroutine."""
        return self._put_before(rpc, _nobody, _raise)

    @property
    def let(self) -> Let | None:
        """How a record acts in somebody's name; None: there is no interceptor to ask."""
        if not self.interceptors:
            return None
        gates = {rpc: self.gate(rpc) for rpc in _OF_SCHEDULES}

        async def let(principal: Principal, rpc: str, request: Any, act: Act) -> Any:
            def handle(request: Any, call: Call) -> Awaitable[Any]:
                return act(request)

            return await gates[rpc](request, Call(rpc, Origin.RECORD, principal), handle)

        return let

    def _put_before(self, rpc: str, handler: Handler, refuse: Callable[[Rejected], Any]) -> Callable[..., Any]:
        request_type = _METHODS[rpc].input_type
        check = bounds.check_of(request_type)
        has_field, must_exist, take = naming_of(request_type)
        limits, entries_max, namespaces = self._limits, self._limits.entries, self._namespaces
        known = cast(Namespaces, namespaces)
        if namespaces is None:
            take = None
        find = _never if namespaces is None else namespaces.get
        first = self._composed(must_exist) if self.interceptors else None

        def serve(request: Any, call: Call | None = None, handler: Handler = handler) -> Any:
            if call is None:
                call = Call(rpc, limits=limits)
            else:
                call.limits = limits
            try:
                if check is not None:
                    check(request, entries_max)
                if take is not None:
                    call.namespace = take(request, call, known)
                elif has_field:
                    call.namespace = name = request.namespace
                    if must_exist and not name:
                        raise invalid("Namespace is empty.")
                if first is None:
                    if must_exist:
                        find(call.namespace)
                    return handler(request, call)
                call.namespaces = namespaces_of(request, call.namespace)
                call.answer = handler
                return first(call, request)
            except Rejected as refusal:
                return refuse(refusal)
            except bounds.OutOfBounds as fault:
                return refuse(invalid(f"Invalid request: {fault}."))

        serve.__name__, serve.__doc__ = rpc, handler.__doc__
        return serve

    def _composed(self, must_exist: bool) -> Proceed:
        """The interceptors, and behind them the question whether the namespace is there: who may not ask for it is not
        told."""
        find = _never if self._namespaces is None else self._namespaces.get

        async def enter(call: Call, request: Any) -> Any:
            if must_exist:
                find(call.namespace)
            assert call.answer is not None
            return await call.answer(request, call)

        proceed: Proceed = enter
        for interceptor in reversed(self.interceptors):
            proceed = partial(_intercept, interceptor, proceed)
        return proceed


def _intercept(interceptor: Interceptor, proceed: Proceed, call: Call, request: Message) -> Any:
    return interceptor(call, request, proceed)


def _never(name: str) -> None:
    """A server without namespaces has no RPC that names one."""
    raise AssertionError(f"the namespace {name!r} was named where there are none")


async def _refused(refusal: Rejected) -> Any:
    """A refusal as who called an `async def` gets it: when it is awaited."""
    raise refusal


def _raise(refusal: Rejected) -> None:
    raise refusal


async def _nobody(request: Any, call: Call) -> Any:
    raise AssertionError(f"{call.rpc} was let through without a handler")
