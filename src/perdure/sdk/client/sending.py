"""Texts that cannot be sent, refused by the name of the argument that they were given as.

Requests are built of ids, names, reasons and notes, at sixty places. A text that UTF-8 cannot hold, such as a file name
that is no UTF-8 used for a workflow id, makes building one fail, and says neither what nor where. So the public methods
of what talks to a server are given to `sends_texts`, which looks at the arguments of a call that failed by it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar, cast

from perdure.sdk.texts import is_sendable, no_text, unsendable

T = TypeVar("T", bound=type)

_DEPTH = 3


def sends_texts(cls: T) -> T:
    """A class whose public coroutine methods raise a ValueError that names the argument whose text cannot be sent."""
    for name, member in list(vars(cls).items()):
        if isinstance(member, FunctionType) and not name.startswith("_") and inspect.iscoroutinefunction(member):
            setattr(cls, name, _refusing(member))
    return cls


def _refusing(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    async def refusing(*args: Any, **options: Any) -> Any:
        try:
            return await method(*args, **options)
        except UnicodeEncodeError as error:
            raise _named(method, args, options, error) from error
        except TypeError as error:
            wrong = _no_text(method, args, options)
            if wrong is None:
                raise
            raise wrong from error

    return refusing


def _no_text(method: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> TypeError | None:
    """The first argument that is no text where its annotation says that it is one."""
    signature = inspect.signature(method)
    try:
        given = signature.bind(*args, **options).arguments
    except TypeError:  # the call itself was wrong, and says so better
        return None
    for name, value in given.items():
        annotation = signature.parameters[name].annotation
        if annotation in ("str", "str | None") and value is not None and not isinstance(value, str):
            return no_text(name, value)
    return None


def _named(
    method: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any], error: UnicodeEncodeError
) -> ValueError:
    given = inspect.signature(method).bind(*args, **options).arguments
    for name, value in given.items():
        for path, text in _texts(value, name, 0):
            if not is_sendable(text):
                return unsendable(path.removeprefix("self."), text)
    return unsendable("a text of the request", str.__str__(error.object))


def _texts(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """The texts in an argument, each with the path to it."""
    if isinstance(value, str):
        yield path, value
    elif depth < _DEPTH and isinstance(value, Mapping):
        for key, part in cast("Mapping[Any, Any]", value).items():
            yield from _texts(key, f"{path} (its key {key!a})", depth + 1)
            yield from _texts(part, f"{path}[{key!a}]", depth + 1)
    elif depth < _DEPTH and isinstance(value, (list, tuple, set, frozenset)):
        for index, part in enumerate(cast("list[Any]", value)):
            yield from _texts(part, f"{path}[{index}]", depth + 1)
    elif depth < _DEPTH and hasattr(value, "__dict__") and not isinstance(value, type):
        for name, part in cast("dict[str, Any]", vars(value)).items():
            if not name.startswith("_"):
                yield from _texts(part, f"{path}.{name}", depth + 1)
