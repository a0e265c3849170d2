"""A database beside the machines: a power cut takes the nodes, and what they had open there, and no row."""

from __future__ import annotations

from typing import cast

from perdure.stores.api import Store
from perdure.stores.open import open_store
from tests.servers.tables import empty_tables
from tests.simulation.blocking import BlockingStore


class DatabaseStorage:
    """Every node has a store of its own on one database, as in reality; what they say to each other is simulated.

    The connections of a dead node stay open until the end. Use it as a context manager.
    """

    serves_many = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._booted: list[BlockingStore] = []

    def boot(self) -> Store:
        """See `Storage.boot`."""
        if not self._booted:
            empty_tables(self._url)
        store = BlockingStore(lambda: open_store(self._url))
        self._booted.append(store)
        return cast(Store, store)

    def __enter__(self) -> DatabaseStorage:
        return self

    def __exit__(self, *_: object) -> None:
        for store in self._booted:
            store.end()
