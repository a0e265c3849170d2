"""Whether a call that reached the guard is workflow code's own doing, and the error if it is.

Only the slow path: workflow code is running on this thread, and something forbidden was called.
"""

from __future__ import annotations

import gc
import sys
from _thread import get_ident
from types import CodeType, FrameType
from typing import Any

from perdure.sdk.errors import DeterminismViolation
from perdure.sdk.guard.table import LIBRARIES
from perdure.sdk.replay.running import running

_PERMITTED = frozenset(
    (
        "_frozen_importlib",
        "_frozen_importlib_external",
        "_pytest",
        "importlib",
        "linecache",
        "logging",
        "tokenize",
        "traceback",
        "warnings",
        "weakref",
        "zipimport",
    )
)
"""Whatever happens below these is not the workflow's decision: imports, log lines, tracebacks, finalizers, and
pytest's assertion texts."""

_BASES = frozenset(("perdure.sdk.replay.fiber", "perdure.sdk.workflow_loop"))
"""Below these is not workflow code any more."""

_ESCAPE = "or, if it cannot change what the workflow does, put it into `with workflow.unsafe.unguarded():`"


def check(what: str, instead: str, depth: int = 2) -> None:
    """Raise DeterminismViolation if workflow code is to blame for the call `depth` frames up.

    Args:
        what: the function called, as its caller writes it.
        instead: what to use.
    """
    blamed, via = _who_calls(sys._getframe(depth))  # pyright: ignore[reportPrivateUsage] - inspect's way costs 100 times more
    if blamed is None:
        return
    if via is not None:
        module: str = via.f_globals["__name__"]
        called = f"{module}.{via.f_code.co_qualname}()"
        what = what if what == called else f"{called} (and so {what})"
        instead = LIBRARIES.get(module.partition(".")[0], instead)
    at = f"{blamed.f_code.co_filename}:{blamed.f_lineno} in {blamed.f_code.co_qualname}"
    error = DeterminismViolation(
        f"workflow code calls {what}, at {at}: replay could not repeat it. Use {instead}; {_ESCAPE}"
    )
    machine = running.get(get_ident())
    if machine is not None and machine.violation is None:
        machine.violation = error
    raise error


def _who_calls(frame: FrameType | None) -> tuple[FrameType | None, FrameType | None]:
    """The frame to blame, None for nobody, and the library function that it called, None if it called itself."""
    blamed: FrameType | None = None
    via: FrameType | None = None
    interruptions = _gc_callbacks()
    while frame is not None:
        name: str = frame.f_globals.get("__name__") or ""
        root = name.partition(".")[0]
        if root in _PERMITTED or frame.f_code.co_name == "__del__" or frame.f_code in interruptions:
            return None, None
        if name in _BASES:
            break
        if blamed is None:
            if root in sys.stdlib_module_names:
                via = frame
            elif name.startswith("perdure.sdk."):
                return None, None
            else:
                blamed = frame
        frame = frame.f_back
    return blamed, via


def _gc_callbacks() -> set[CodeType]:
    """The garbage collector comes by whenever it likes, on whatever thread: what it calls is nobody's doing."""
    functions: list[Any] = [getattr(callback, "__func__", callback) for callback in gc.callbacks]
    return {function.__code__ for function in functions if hasattr(function, "__code__")}
