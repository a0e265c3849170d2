"""What can be called, and what is known of it: its name, what it takes, whether it must be awaited.

People decorate, and register as handlers, whatever Python can call: functions, bound methods, `functools.partial`,
objects with `__call__`, builtins. What each of them is at heart is found out here.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from functools import lru_cache, partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, UnionType
from typing import Any, NamedTuple, Optional, cast

from perdure.sdk.convert.raw import RawValue
from perdure.sdk.errors import DefinitionError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NO_NAME = "<lambda>"


class Shape(NamedTuple):
    """What something takes by position, and what it gives."""

    types: list[Any]
    """The annotation of each positional parameter; Any where there is none."""
    returns: Any
    names: list[str]
    """Of the positional parameters; `*args` for any number more."""
    least: int
    most: float
    """How many arguments it must, and may, be given."""
    rest: Any = Any
    """What `*args` are decoded to: RawValue where they are annotated so, else whatever the JSON says."""

    def kinds(self, count: int) -> list[Any]:
        """The annotations of so many arguments; shorter where there are none."""
        types = self.types
        return types if self.rest is Any or count <= len(types) else [*types, *[self.rest] * (count - len(types))]

    def without(self, count: int) -> Shape:
        """Less what is not given by the caller: the object of a method, the name of a dynamic one."""
        is_open = self.most == float("inf") and len(self.names) <= count
        names = self.names[-1:] if is_open else self.names[count:]
        least = max(0, self.least - count)
        return Shape(self.types[count:], self.returns, names, least, self.most - count, self.rest)

    def misfit(self, count: int) -> str:
        """What is wrong with so many arguments, as in "takes cents, and was given 2 arguments"; "" when they fit."""
        if self.least <= count <= self.most:
            return ""
        given = {0: "none", 1: "1 argument"}.get(count, f"{count} arguments")
        return f"takes {', '.join(self.names) or 'none'}, and was given {given}"


UNKNOWN = Shape([], Any, ["*args"], 0, float("inf"))
"""Of what Python cannot tell the parameters of, as of some builtins."""


def function_of(fn: Any) -> Any:
    """The function beneath methods, partials and objects with `__call__`."""
    while not isinstance(fn, (FunctionType, BuiltinFunctionType, type)):
        if isinstance(fn, partial):
            fn = cast(Any, fn).func
        elif hasattr(fn, "__func__"):
            fn = fn.__func__
        elif not hasattr(fn, "__name__") and isinstance(type(fn).__dict__.get("__call__"), FunctionType):
            fn = type(fn).__call__
        else:
            return fn
    return fn


def own_name(fn: Any) -> str | None:
    """The name that a callable has by itself: a function's, a partial's function's, an object's class's."""
    if isinstance(fn, partial):
        return own_name(fn.func)
    name = getattr(fn, "__name__", None) or type(fn).__name__
    return None if name == _NO_NAME else name


def checked_callable(fn: Any, what: str, name: str | None) -> str:
    """The name under which something is to be known: its own, unless it is given one.

    Args:
        what: as the user wrote it, e.g. "@activity".

    Raises DefinitionError when it cannot be called, or is no use when called; says what to write instead.
    """
    if isinstance(fn, str):
        raise DefinitionError(f"{what} takes a function, not a text: to name it, write {what}(name={fn!r})")
    if isinstance(fn, type):
        raise DefinitionError(f"{what} takes a function, and {fn.__name__} is a class: decorate its methods")
    if not callable(fn):
        raise DefinitionError(f"{what} takes a function, not {fn!r}")
    known = name or own_name(fn)
    if known is None:
        raise DefinitionError(f"a lambda has no name that history could keep: write {what}(name=...)")
    if is_generator(fn):
        raise DefinitionError(f"{known} is a generator; use a plain `def` or an `async def` function")
    if signature_of(fn) is None:
        raise DefinitionError(f"Python does not tell what {known} takes: write a function around it")
    return known


def is_method_like(fn: Any) -> bool:
    """Whether a function that is being decorated stands in the body of a class, and is given its object."""
    place, _, _ = getattr(fn, "__qualname__", "").rpartition(".")
    if not isinstance(fn, FunctionType) or not place or place.endswith("<locals>"):
        return False
    return next(iter(inspect.signature(fn).parameters), "") in ("self", "cls")


def is_async(fn: Any) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(function_of(fn))


def is_generator(fn: Any) -> bool:
    """Whether calling it runs nothing, because it yields."""
    function = function_of(fn)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def signature_of(fn: Any) -> inspect.Signature | None:
    """None when Python cannot tell, as of some builtins."""
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):
        return None


def code_of(fn: Any) -> CodeType | None:
    """None for what is not written in Python."""
    return getattr(function_of(fn), "__code__", None)


def shape_of(fn: Any) -> Shape:
    """Found out once for a function that is defined anew in every run, of the same code."""
    code = getattr(fn.__func__ if isinstance(fn, MethodType) else fn, "__code__", None)
    return _shape_of(fn) if code is None else _shape_of_code(code, isinstance(fn, MethodType), _Same(fn))


def _shape_of(fn: Any) -> Shape:
    signature = signature_of(fn)
    return UNKNOWN if signature is None else shape_by(fn, signature)


class _Same:
    """Carries a function past a cache's key: code says enough."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=1024)
def _shape_of_code(code: CodeType, is_bound: bool, same: _Same) -> Shape:
    return _shape_of(same.fn)


def shape_by(fn: Any, signature: inspect.Signature) -> Shape:
    """The shape of a call with that signature, which may be less than the function's own."""
    try:
        hints = typing.get_type_hints(function_of(fn), include_extras=True)
    except (NameError, AttributeError, TypeError):
        # An annotation that only a type checker can see (TYPE_CHECKING imports): decode untyped.
        hints = {}
    parameters = signature.parameters.values()
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    names = [p.name for p in positional]
    rest: Any = Any
    least, most = sum(p.default is p.empty for p in positional), float(len(positional))
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = float("inf")
            names.append(f"*{parameter.name}")
            rest = RawValue if hints.get(parameter.name) is RawValue else Any
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            return Shape([_hint(hints, p) for p in positional], hints.get("return", Any), names, 1, 0)
    return Shape([_hint(hints, p) for p in positional], hints.get("return", Any), names, least, most, rest)


def _hint(hints: dict[str, Any], parameter: inspect.Parameter) -> Any:
    """An annotation; with a default of None, it may be None whatever it says."""
    hint = hints.get(parameter.name, Any)
    return Optional[hint] if parameter.default is None and hint is not Any else hint  # noqa: UP045 - hint is a value


def refuses(kind: Any, value: Any) -> bool:
    """Whether a value surely is none of an annotation's; of what cannot be told it is not sure.

    For null and bytes, which payloads carry as such: all else is checked where it is decoded.
    """
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return refuses(typing.get_args(kind)[0], value)
    if origin in (typing.Union, UnionType):
        return all(refuses(part, value) for part in typing.get_args(kind))
    if kind is None:
        return value is not None
    cls = origin if isinstance(origin, type) else kind
    if not isinstance(cls, type) or (isinstance(value, bytes) and issubclass(cls, (bytearray, memoryview))):
        return False
    try:
        return not isinstance(value, cls)
    except TypeError:  # a protocol that says nothing at run time
        return False
