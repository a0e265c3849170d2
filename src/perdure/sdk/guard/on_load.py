"""Changes to libraries as soon as they are loaded: before this, after it, or never, for they are no dependencies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Change = Callable[[Any], None]


class _Finder(MetaPathFinder):
    """Finds nothing itself: it puts a loader around the one that is found for an awaited module."""

    def __init__(self) -> None:
        self.awaited: dict[str, Change] = {}

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        change = self.awaited.pop(fullname, None)
        if change is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Changing(spec.loader, change)
                return spec
        self.awaited[fullname] = change
        return None


class _Changing(Loader):
    """The module's own loader, and the change behind it."""

    def __init__(self, inner: Loader, change: Change) -> None:
        self._inner = inner
        self._change = change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._inner
        if module.__spec__ is not None:
            module.__spec__.loader = self._inner
        self._inner.exec_module(module)
        self._change(module)


_finder = _Finder()


def when_loaded(module: str, change: Change) -> None:
    """Apply a change to a module, now or as soon as it has been loaded. One for each module."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        change(loaded)
        return
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.awaited[module] = change
