"""Logging libraries in workflow code: what they say is said once, and not again in replay, as `workflow.logger` does.

The guard lets them look at clocks and threads (`guard/verdict.py`): a log line is not the workflow's decision. Here
they are made silent while history is gone through again, at the place through which all that they say must pass: behind
their levels, bindings and settings, and before whatever writes or sends. The standard library's own loggers and `print`
repeat themselves, as documented; use `workflow.logger`.
"""

from __future__ import annotations

import asyncio.events
from _thread import get_ident
from collections.abc import Callable
from functools import update_wrapper
from types import FunctionType, ModuleType
from typing import Any, Final

from perdure.sdk.guard.on_load import when_loaded
from perdure.sdk.replay.running import running

PLACES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "loguru._handler": (("Handler", "emit"),),
    "structlog._base": (("BoundLoggerBase", "_proxy_to_logger"),),
    "sentry_sdk.scope": (("Scope", "add_breadcrumb"),),
    "sentry_sdk.client": (
        ("_Client", "capture_event"),
        ("_Client", "_capture_log"),
        ("_Client", "_capture_metric"),
        ("_Client", "_capture_telemetry"),
    ),
}
"""Classes and methods, by module. One that a version of the library does not have is passed over."""

TALKERS: Final = frozenset(module.partition(".")[0] for module in PLACES)


def quiet_in_replay() -> None:
    """Change these libraries, now or as soon as they are loaded."""
    for module in PLACES:
        when_loaded(module, _change)


def _change(module: Any) -> None:
    for class_name, method in PLACES[module.__name__]:
        owner = getattr(module, class_name, None)
        real = getattr(owner, method, None)
        if owner is not None and real is not None:
            setattr(owner, method, _quiet(real, module))


def _quiet(real: Callable[..., Any], module: ModuleType) -> Callable[..., Any]:
    """The method, silent in replay. It passes for the library's own, which looks behind those for the caller."""
    machines, ident = running, get_ident
    get_loop, set_loop = asyncio.events._get_running_loop, asyncio.events._set_running_loop

    def say(*args: Any, **kwargs: Any) -> Any:
        machine = machines.get(ident())
        if machine is None:
            return real(*args, **kwargs)
        if machine.replaying:
            return None
        loop = get_loop()
        set_loop(None)  # a sink that is a coroutine must not become a task of the workflow
        try:
            return real(*args, **kwargs)
        finally:
            set_loop(loop)

    names = {"__name__": module.__name__, "__builtins__": __builtins__}
    return update_wrapper(FunctionType(say.__code__, names, closure=say.__closure__), real)
