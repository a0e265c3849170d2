"""What a function that stands in for another one owes to who asks what it is."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from typing import Any


def mark_coroutine_function(fn: Any) -> None:
    """So that who asks whether it must be awaited, a framework or a mock, is told the truth."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(fn)
    else:
        # By name: the replay machine stands on this module, and is kept free of asyncio.
        fn._is_coroutine = import_module("asyncio.coroutines")._is_coroutine
