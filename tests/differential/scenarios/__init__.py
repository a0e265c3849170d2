"""All scenarios, by name: the public coroutine functions of the modules of this package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Awaitable, Callable
from typing import Any

from tests.differential.stage import Stage

Scenario = Callable[[Stage], Awaitable[Any]]


def _collected() -> dict[str, Scenario]:
    found: dict[str, Scenario] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for name, value in vars(module).items():
            if not inspect.iscoroutinefunction(value) or name.startswith("_") or value.__module__ != module.__name__:
                continue
            if hasattr(value, "__temporal_activity_definition"):
                continue
            found[f"{module_info.name}.{name}"] = value
    return found


SCENARIOS: dict[str, Scenario] = _collected()
