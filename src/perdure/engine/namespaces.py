"""The namespaces, in memory: every request names one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from temporalio.api.enums.v1 import NamespaceState
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure

from perdure.api.errors import Rejected, StatusCode
from perdure.core.message import Origin
from perdure.stores.api import Namespace, Store

DEFAULT_NAMESPACE = "default"
DELETED = NamespaceState.NAMESPACE_STATE_DELETED


class Namespaces:
    """Known namespaces by name; `default` is made at a store's first start."""

    def __init__(self, store: Store, new_id: Callable[[], str], default_retention_ns: int) -> None:
        self._store = store
        self._new_id = new_id
        self._default_retention_ns = default_retention_ns
        self._by_name: dict[str, Namespace] = {}
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Read them all. Raises StoreError."""
        await self.refresh()
        if DEFAULT_NAMESPACE not in self._by_name:
            await self.put(Namespace(DEFAULT_NAMESPACE, self._new_id(), self._default_retention_ns))

    async def refresh(self) -> None:
        """Read them again: another engine may have added one. Raises StoreError."""
        self._by_name = {namespace.name: namespace for namespace in await self._store.namespaces()}

    async def put(self, namespace: Namespace) -> None:
        """Insert or replace. Raises StoreError."""
        await self._store.put_namespace(namespace)
        self._by_name[namespace.name] = namespace

    async def change(self, name: str, change: Callable[[Namespace], Namespace]) -> Namespace:
        """Put what `change` makes of it; changes follow one another. Raises Rejected, StoreError."""
        async with self._turn:
            changed = change(self.get(name))
            await self.put(changed)
            return changed

    async def forget(self, name: str) -> None:
        """It is gone, with all that was in it. Raises StoreError."""
        await self._store.remove_namespace(name)
        self._by_name.pop(name, None)

    def is_taken(self, name: str) -> bool:
        """Whether there is one of this name, or one that is being deleted."""
        return name in self._by_name

    def get(self, name: str) -> Namespace:
        """Raises Rejected NOT_FOUND, with the detail that clients expect."""
        namespace = self._by_name.get(name)
        if namespace is None or namespace.state == DELETED:
            raise Rejected(
                StatusCode.NOT_FOUND, f"Namespace {name} is not found.", NamespaceNotFoundFailure(namespace=name)
            )
        return namespace

    def id_of(self, origin: Origin | None) -> str:
        """The id of the namespace that a parent is in; empty when there is no parent, or no such namespace now."""
        namespace = self._by_name.get(origin.namespace) if origin is not None else None
        return "" if namespace is None else namespace.id

    def search_attributes(self, name: str) -> Mapping[str, int]:
        """The custom ones of a namespace, with their types."""
        namespace = self._by_name.get(name)
        return {} if namespace is None else namespace.search_attributes

    def all(self) -> list[Namespace]:
        """By name."""
        return [namespace for _, namespace in sorted(self._by_name.items()) if namespace.state != DELETED]

    def deleted(self) -> list[Namespace]:
        """Those that are being deleted."""
        return [namespace for _, namespace in sorted(self._by_name.items()) if namespace.state == DELETED]
