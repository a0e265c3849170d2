"""What `@workflow` makes of a function, `def` or `async def`, and of a class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from perdure.sdk.declare.callables import code_of, function_of, is_async, is_method_like, own_name
from perdure.sdk.declare.definitions import WorkflowDefinition
from perdure.sdk.declare.handlers import Handlers
from perdure.sdk.errors import DefinitionError
from perdure.sdk.workflow.loop import WorkflowLoop

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class SyncWorkflow(WorkflowDefinition[P, R_co]):
    """A `def` workflow. Called inside another workflow it is the plain function, part of that one's code."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return cast(R_co, self.fn(*args, **kwargs))


class AsyncWorkflow(WorkflowDefinition[P, R_co]):
    """An `async def` workflow. Called inside another workflow it is the plain coroutine function."""

    fiber = WorkflowLoop

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        return cast("Coroutine[Any, Any, R_co]", self.fn(*args, **kwargs))


class ClassWorkflow(WorkflowDefinition[P, R_co]):
    """A workflow that is a class: one object of it per run. `.cls` is the class itself, its attributes are here too.

    Type checkers take it for the class (`startable.py` says why).
    """

    def __init__(self, cls: type[Any], name: str | None) -> None:
        handlers = Handlers(cls)
        super().__init__(handlers.run, name or cls.__name__)
        self.cls = cls
        self.handlers = handlers
        own = inspect.signature(handlers.run)
        self._signature = own.replace(parameters=list(own.parameters.values())[1:])
        self.__name__, self.__qualname__ = cls.__name__, cls.__qualname__
        self.__module__, self.__doc__ = cls.__module__, cls.__doc__
        if self.is_async:
            self.fiber = WorkflowLoop

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """An object of the class, for tests of its parts."""
        return self.cls(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "cls" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.cls, name)


class WorkflowDecorator(Protocol):
    """`@workflow(...)`: still to be given its function, or class, which stays a class for type checkers."""

    @overload
    def __call__(self, cls: type[T], /) -> type[T]: ...  # pyright: ignore[reportOverlappingOverload] - as below
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncWorkflow[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncWorkflow[P, R]: ...


def _is_partial(fn: Any) -> bool:
    return isinstance(fn, partial)


def workflow_definition(given: Any, name: str | None) -> WorkflowDefinition[Any, Any]:
    """What `@workflow` makes of a function or a class. Raises DefinitionError, which says what to write instead."""
    if inspect.isclass(given):
        return ClassWorkflow[Any, Any](given, name)
    function: Any = given.__func__ if type(given) is staticmethod else given
    beneath = function_of(function)
    if is_method_like(function) or type(function) is classmethod:
        raise DefinitionError(
            f"{beneath.__qualname__} is a method: decorate the class with @workflow and this with @workflow.run, or "
            "write a function"
        )
    if beneath is not function and not _is_partial(function):
        raise DefinitionError(
            f"{own_name(function)} has an object with it, which no history remembers: a workflow is a function, or a "
            "class of which each run has an object"
        )
    if callable(function) and code_of(function) is None:
        raise DefinitionError(f"{own_name(function)} is not written in Python: nothing of it could be replayed")
    if is_async(function):
        return AsyncWorkflow[Any, Any](function, name)
    return SyncWorkflow[Any, Any](function, name)
