"""Faces of a client for plain code: the methods of those that await, run on the engine's loop and waited for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from perdure.sdk.deprecated import as_former

F = TypeVar("F")
P = ParamSpec("P")
T = TypeVar("T")

Ask = Callable[[Coroutine[Any, Any, Any]], Any]
"""How a client for plain code runs a coroutine of its own, and waits."""


class Blocking(Generic[F]):
    """What the faces for plain code have in common."""

    def __init__(self, inner: F, call: Ask) -> None:
        self._inner = inner
        self._call = call


def blocking(
    method: Callable[Concatenate[F, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Blocking[F], P], T]:
    """The same method for plain code, with its signature and its text."""

    @wraps(method, updated=())
    def call(self: Blocking[F], *args: P.args, **kwargs: P.kwargs) -> T:
        work = method(self._inner, *args, **kwargs)  # pyright: ignore[reportPrivateUsage] - its bridge
        return self._call(work)  # pyright: ignore[reportPrivateUsage] - its bridge

    return as_former(method, call)
