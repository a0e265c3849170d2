"""A store that others share, looked at: it answers what it is asked and refuses whatever would write."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from perdure.stores.api import Store, StoreError

WRITES = frozenset(
    {"commit", "delete_executions", "remove_messages", "put_records", "put_namespace", "remove_namespace"}
)
"""The methods of `Store` that change something which lasts. What nodes tell each other does not."""


class _OnlyReads:
    """See `only_reads`. Whatever is not refused is the store's own."""

    transactional = None
    enlisting = None

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return self._refuse if name in WRITES else getattr(self._store, name)

    async def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise StoreError(f"The store {self._name} is open for reading alone: nothing can be changed through it.")


def only_reads(store: Store, name: str) -> Store:
    """The same store, of which nothing can be changed through this one. `name`: what messages call it."""
    return cast(Store, _OnlyReads(store, name))


def missing(name: object) -> StoreError:
    """What is said of a store that is not there, to whoever must not make it."""
    return StoreError(f"There is no store {name}: correct the URL, or start an engine on it first.")


def outdated(name: object, version: int, newest: int) -> StoreError:
    """What is said of a store of an older perdure, to whoever must not change its schema."""
    return StoreError(
        f"The store {name} has schema {version}, this perdure reads {newest}: "
        "an engine brings it up to date when it opens it."
    )
