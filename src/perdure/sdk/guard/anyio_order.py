"""anyio's cancel scopes keep those within them in a set, ordered by address: in a workflow, as they came.

A cancelled scope is cancelled from the outside in, and what is cancelled becomes commands: their order must be that of
the history. anyio's tasks need no such help, for they are the loop's own (`loop_tasks.py`).
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Iterator, MutableSet
from functools import update_wrapper
from typing import Any

from perdure.sdk.guard.on_load import when_loaded
from perdure.sdk.replay.running import running

_BACKEND = "anyio._backends._asyncio"


class _InOrder(MutableSet[Any]):
    """A set that is gone through in the order in which it was filled."""

    def __init__(self) -> None:
        self._items: dict[int, Any] = {}

    def __contains__(self, item: object) -> bool:
        return id(item) in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._items.values()))

    def __len__(self) -> int:
        return len(self._items)

    def add(self, value: Any) -> None:
        self._items[id(value)] = value

    def discard(self, value: Any) -> None:
        self._items.pop(id(value), None)


def _patch(backend: Any) -> None:
    scope = backend.CancelScope
    real: Callable[..., None] = scope.__init__

    def init(self: Any, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        if get_ident() in running:
            self._child_scopes = _InOrder()

    scope.__init__ = update_wrapper(init, real)


def keep_order() -> None:
    """Patch anyio, now or as soon as it is loaded."""
    when_loaded(_BACKEND, _patch)
