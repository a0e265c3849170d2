"""Handlers of signals, queries and updates: how they are declared, and what is known of each.

A workflow that is a function registers them while it runs (`workflow.on_signal(name, handler)`); a
workflow that is a class declares them as methods. Either way a handler has the name that clients
use, or none: then it is the *dynamic* one of its kind, called with the name first for whatever no
other handler has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MethodType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from perdure.sdk.choices import member_of
from perdure.sdk.declare.callables import Shape, is_async, is_generator, shape_of
from perdure.sdk.errors import DefinitionError
from perdure.sdk.option_names import unknown_option
from perdure.sdk.policies import UnfinishedPolicy
from perdure.sdk.texts import check_text

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R = TypeVar("R")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

Kind = Literal["signal", "query", "update"]
"""What becomes of a handler that has not ended when the workflow's function returns."""

MARK = "__perdure_handler__"
"""The attribute by which a method is known as a handler."""
RUN_MARK = "__perdure_run__"
"""The attribute by which a method is known as the workflow's own."""


class Handler:
    """One handler.

    Args:
        fn: a function, or a method still without its instance (`is_method`).
        kind: of the messages that it handles.
        name: of the messages; None: of all that no other handler has.
        unfinished: "wait": the run does not close before the handler has ended.
        validator: of an update: raises to reject it.
    """

    __slots__ = ("_shape", "fn", "is_async", "is_method", "kind", "name", "unfinished", "validator")

    def __init__(
        self,
        fn: Callable[..., Any],
        kind: Kind,
        name: str | None,
        *,
        unfinished: UnfinishedPolicy | str = UnfinishedPolicy.WARN,
        validator: Callable[..., Any] | None = None,
        is_method: bool = False,
    ) -> None:
        if not callable(fn) or isinstance(fn, type):
            raise DefinitionError(f"the handler of {kind} {name!r} must be a function, not {fn!r}")
        if is_generator(fn):
            raise DefinitionError(f"the handler of {kind} {name!r} is a generator: called, it would do nothing")
        self.fn = fn
        self.kind = kind
        check_text(name, "name")
        self.name = name
        self.unfinished = member_of(
            UnfinishedPolicy, unfinished, "unfinished", aliases={"WARN_AND_ABANDON": "warn"}, error=DefinitionError
        )
        self.validator = validator
        self.is_method = is_method
        self.is_async = is_async(fn)
        if kind == "query" and self.is_async:
            raise DefinitionError(f"the handler of query {name!r} must be a plain `def`: it can wait for nothing")
        self._shape: Shape | None = None
        if is_method:
            self._check_method()

    def _check_method(self) -> None:
        whole = shape_of(self.fn)
        if whole.least > whole.most:
            raise DefinitionError(f"{self.fn.__qualname__} has a parameter that is given by name; messages have none")
        if self.shape.most < 0:
            given = "self" if self.name is not None else "self and the name"
            raise DefinitionError(f"{self.fn.__qualname__} is for the messages of a {self.kind}: it must take {given}")

    @property
    def shape(self) -> Shape:
        """What a message's arguments are decoded to, and how many there may be."""
        if self._shape is None:
            self._shape = shape_of(self.fn).without(self.is_method + (self.name is None))
        return self._shape

    def bind(self, instance: Any) -> Callable[..., Any]:
        """The function to call, given the workflow's object if it is a class."""
        return MethodType(self.fn, instance) if self.is_method else self.fn

    def bind_validator(self, instance: Any) -> Callable[..., Any] | None:
        """The validator to call, None when there is none."""
        if self.validator is None:
            return None
        return MethodType(self.validator, instance) if self.is_method else self.validator


# --- classes ----------------------------------------------------------------------------------------


class UpdateMethod(Generic[P, R, T]):
    """A method that handles an update; `.validator` decorates the one that may reject it before it is recorded.

    It takes P and gives back R; the update's answer is T: of an `async def`, what is awaited.
    """

    def __init__(self, fn: Callable[P, R], name: str | None, unfinished: UnfinishedPolicy | str) -> None:
        self._fn = fn
        self._name = name
        self._unfinished = unfinished
        self._validator: Callable[..., Any] | None = None
        self.__name__ = fn.__name__
        self.__doc__ = fn.__doc__
        self.handler()  # where it is wrong, it is wrong at its own line

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> UpdateMethod[P, R, T]: ...
    @overload
    def __get__(
        self: UpdateMethod[Concatenate[S, Q], R, T], instance: S, owner: type[Any] | None = None
    ) -> Callable[Q, R]: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self if instance is None else MethodType(cast(Any, self._fn), instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._fn(*args, **kwargs)

    def validator(self, fn: F) -> F:
        """Given the update's arguments before it is accepted; it only looks, and raises to reject.

        Raises DefinitionError when it is `async def`.
        """
        if inspect.iscoroutinefunction(fn):
            raise DefinitionError(
                f"the validator of update {self._name!r} must be a plain `def`: it can wait for nothing"
            )
        self._validator = fn
        return fn

    def handler(self) -> Handler:
        """What is known of it."""
        return Handler(
            self._fn, "update", self._name, unfinished=self._unfinished, validator=self._validator, is_method=True
        )


class UpdateDecorator(Protocol):
    """`@workflow.update` with options, as type checkers see it."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> UpdateMethod[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> UpdateMethod[P, R, R]: ...


def check_markable(fn: Any, decorator: str) -> None:
    """Raises DefinitionError for what is not a plain method, or has a part to play already."""
    if isinstance(fn, str):
        raise DefinitionError(f"{decorator} takes a method, not a text: to name it, write {decorator}(name={fn!r})")
    if type(fn) in (staticmethod, classmethod, property):
        raise DefinitionError(f"{decorator} stands above a plain method, and not above @{type(fn).__name__}")
    if isinstance(fn, type) or not callable(fn) or not hasattr(fn, "__name__"):
        raise DefinitionError(f"{decorator} takes a method, not {fn!r}")
    if type(fn) is UpdateMethod or hasattr(fn, MARK) or hasattr(fn, RUN_MARK):
        raise DefinitionError(f"{fn.__qualname__} has one decorator of the workflow already; write a second method")


def marked(fn: F, kind: Kind, name: str | None, unfinished: UnfinishedPolicy | str) -> F:
    """A method, made known as a handler. Raises DefinitionError."""
    setattr(fn, MARK, Handler(fn, kind, name, unfinished=unfinished, is_method=True))
    return fn


def name_of(message: Any) -> str:
    """The name of a signal, query or update that is given by name or as the method that handles it.

    Raises DefinitionError.
    """
    if isinstance(message, str):
        return message
    handler = _handler_of(message)
    if handler is not None and handler.name is not None:
        return handler.name
    raise DefinitionError(f"{message!r} is neither a name nor a handler that has one")


def addressed(
    kind: Kind, message: Any, args: tuple[Any, ...], named: Mapping[str, Any], options: Sequence[str]
) -> tuple[str, tuple[Any, ...]]:
    """The name and the arguments of a message, given by its name or as the method that handles it.

    Args:
        named: arguments given by name, which a method knows and a name does not.
        options: of the call that sends it, for the error about one that there is not.

    Raises:
        TypeError: the arguments do not fit the method.
        DefinitionError: it is neither a name nor such a method, or one for another kind of message.
    """
    name, handler = name_of(message), _handler_of(message)
    if handler is None:
        if named:
            raise unknown_option(f"{kind}()", next(iter(named)), options)
        return name, args
    if handler.kind != kind:
        raise DefinitionError(f"{handler.fn.__qualname__} handles a {handler.kind}, and this sends a {kind}")
    if named:
        args = _by_position(handler, args, named, options)
    misfit = handler.shape.misfit(len(args))
    if misfit:
        raise TypeError(f"{handler.fn.__qualname__} {misfit}")
    return name, args


def _by_position(
    handler: Handler, args: tuple[Any, ...], named: Mapping[str, Any], options: Sequence[str]
) -> tuple[Any, ...]:
    signature = inspect.signature(handler.fn)
    signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    unknown = [name for name in named if name not in signature.parameters]
    if unknown:
        raise unknown_option(f"{handler.kind}()", unknown[0], [*signature.parameters, *options])
    try:
        bound = signature.bind(*args, **named)
    except TypeError as error:
        raise TypeError(f"{handler.fn.__qualname__}: {error}") from None
    bound.apply_defaults()
    return bound.args


def _handler_of(message: Any) -> Handler | None:
    handler = cast(Any, message).handler() if isinstance(message, UpdateMethod) else getattr(message, MARK, None)
    return handler if isinstance(handler, Handler) else None


def return_type_of(message: Any) -> Any:
    """What the answer of a handler that is given as a method is annotated with; Any for a name."""
    handler = _handler_of(message)
    return Any if handler is None else shape_of(handler.fn).returns


class Handlers:
    """What a class declares: its run method, and its handlers by kind and name."""

    __slots__ = ("cls", "queries", "run", "signals", "takes_arguments", "updates")

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.run = _run_method(cls)
        self.signals: dict[str | None, Handler] = {}
        self.queries: dict[str | None, Handler] = {}
        self.updates: dict[str | None, Handler] = {}
        by_kind = {"signal": self.signals, "query": self.queries, "update": self.updates}
        for name, member in inspect.getmembers_static(cls):
            _check_plain(cls, name, member)
            handler = cast(Any, member).handler() if isinstance(member, UpdateMethod) else getattr(member, MARK, None)
            if not isinstance(handler, Handler):
                continue
            self._check(handler)
            shelf = by_kind[handler.kind]
            if handler.name in shelf:
                raise DefinitionError(f"{cls.__qualname__} has two handlers of {handler.kind} {handler.name!r}")
            shelf[handler.name] = handler
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        self.takes_arguments = cls.__init__ is not object.__init__ and any(
            p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters
        )
        """Whether the object is made with the workflow's arguments."""

    def _check(self, handler: Handler) -> None:
        if handler.is_async and not inspect.iscoroutinefunction(self.run):
            raise DefinitionError(
                f"{handler.fn.__qualname__} is `async def` and the run method of {self.cls.__qualname__} is not; "
                "make both `async def`, or both `def`"
            )


def _check_plain(cls: type[Any], name: str, member: Any) -> None:
    """Raises DefinitionError for a handler that hides beneath another decorator: nobody would find it."""
    beneath = member.fget if isinstance(member, property) else getattr(member, "__func__", None)
    if isinstance(beneath, UpdateMethod) or hasattr(beneath, MARK) or hasattr(beneath, RUN_MARK):
        raise DefinitionError(
            f"{cls.__qualname__}.{name} is a plain method of the workflow: take @{type(member).__name__} away"
        )


def _run_method(cls: type[Any]) -> Callable[..., Any]:
    found = [
        member
        for _, member in inspect.getmembers_static(cls)
        if inspect.isfunction(member) and hasattr(member, RUN_MARK)
    ]
    if len(found) != 1:
        problem = "has no method" if not found else f"has {len(found)} methods"
        raise DefinitionError(
            f"the workflow class {cls.__qualname__} {problem} decorated with @workflow.run; one is it"
        )
    return found[0]
