"""Names of the version before: they work unchanged, and say the new one at the line that uses them.

A name is kept for one version. What it warns of is a DeprecationWarning, which Python shows once for each line, and by
default in a program's main file and in tests alone; `python -W error::DeprecationWarning` finds the first, and
CHANGELOG.md lists them all beside the new ones.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from types import FrameType
from typing import Any, Final, TypeVar

from perdure.sdk.wrapping import mark_coroutine_function

F = TypeVar("F", bound=Callable[..., Any])

RENAMED_OPTIONS: Final[dict[str, str]] = {
    "deadlock_ns": "deadlock_timeout",
    "heartbeat": "heartbeat_timeout",
    "heartbeat_default_ns": "default_heartbeat_throttle_interval",
    "heartbeat_maximum_ns": "max_heartbeat_throttle_interval",
    "now_ns": "now",
    "schedule_to_close": "schedule_to_close_timeout",
    "schedule_to_start": "schedule_to_start_timeout",
    "shutdown_cancel_ns": "shutdown_cancel_grace",
    "shutdown_grace_ns": "shutdown_grace",
    "start_to_close": "start_to_close_timeout",
    "sticky_schedule_to_start_ns": "sticky_queue_schedule_to_start_timeout",
}
"""Keywords of the version before, each with its name of now; of functions that `lists_options` looks after."""

GONE_OPTIONS: Final[dict[tuple[str, str], str]] = {
    ("WorkerConfig()", "fails_repeatedly"): "nothing, for a worker knows whether its server is far",
}
"""Keywords of the version before that nobody needs to give any more, by what takes them: they are passed over."""


def _clock(read: Callable[[], int]) -> Callable[[], datetime]:
    return lambda: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=read() // 1000)


def _value(name: str, value: Any) -> Any:
    """What a keyword of the version before was given, as the one of now takes it: nanoseconds are none any more."""
    if name == "now_ns":
        return _clock(value)
    return value / 1e9 if name.endswith("_ns") else value


_ROOMS: Final = ("perdure", "importlib")
"""Packages whose frames lie between the user's line and what is deprecated."""


def deprecated(old: str, new: str) -> None:
    """A DeprecationWarning at the user's line: the innermost one that is not in this package.

    Args:
        old: what the user wrote, as "local_call(...)".
        new: what to write instead.
    """
    frame: FrameType = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - inspect's way costs 100 times more
    while frame.f_back is not None and _is_ours(frame):
        frame = frame.f_back
    names = frame.f_globals
    warnings.warn_explicit(
        f"{old} is deprecated: write {new}",
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=names.get("__name__") or "<string>",
        registry=names.setdefault("__warningregistry__", {}),
    )


def _is_ours(frame: FrameType) -> bool:
    name: str = frame.f_globals.get("__name__") or ""
    return name.partition(".")[0] in _ROOMS


def by_new_names(what: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call, those of the version before under their names of now; each is warned of.

    Args:
        what: what was called.
        options: as the user gave them.
        known: the names that there are; one that is given by both of its names stays as it is.
    """
    renamed: dict[str, Any] = {}
    for name, value in options.items():
        new = RENAMED_OPTIONS.get(name)
        if (what, name) in GONE_OPTIONS:
            deprecated(f"{what}: {name}=", GONE_OPTIONS[what, name])
        elif name in known or new is None or new not in known or new in options:
            renamed[name] = value
        else:
            deprecated(f"{what}: {name}=", f"{new}=")
            renamed[new] = _value(name, value)
    return renamed


def instead(new: str, *, old: str = "") -> Callable[[F], F]:
    """A method of the version before, which says what to write when it is called; a coroutine's too, not when awaited.

    Args:
        new: what to write, as "engine.get(id).reset(...)".
        old: what the user wrote, if it is not the function's own name.
    """

    def decorate(fn: Any) -> Any:
        @wraps(fn)
        def warned(*args: Any, **options: Any) -> Any:
            deprecated(old or f"{fn.__name__}()", new)
            return fn(*args, **options)

        warned.__dict__["__deprecated__"] = new
        if inspect.iscoroutinefunction(fn):
            mark_coroutine_function(warned)
        return warned

    return decorate


def as_former(method: Callable[..., Any], bridge: F) -> F:
    """A bridge to the method, which is of the version before if the method is."""
    if "__deprecated__" in vars(method):
        vars(bridge)["__deprecated__"] = vars(method)["__deprecated__"]
    return bridge


def former_names(module: str, names: Mapping[str, tuple[str, Any]]) -> Callable[[str], Any]:
    """A module's `__getattr__`, which knows names of the version before.

    Args:
        module: its name.
        names: each old name with the new one, as a user writes it, and with what it stands for.
    """

    def look_up(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new, thing = names[name]
        deprecated(f"{module}.{name}", new)
        return thing

    return look_up


class FormerlyAsync(type):
    """The kind of a class that has the name which one that awaits had in the version before.

    Plain names block now and `Async…` ones await. An annotation by the old name is as good as it was, for nothing looks
    at it while a program runs; `isinstance` by the old name still finds what awaits, and says the new one.
    """

    awaits: type[Any]
    """Each class says which: that one's objects pass for its own."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if super().__instancecheck__(instance):
            return True
        awaits = cls.awaits
        if not isinstance(instance, awaits):
            return False
        deprecated(f"isinstance(..., {cls.__name__}) of what awaits", awaits.__name__)
        return True
