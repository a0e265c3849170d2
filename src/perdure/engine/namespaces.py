"""The namespaces, in memory: every request names one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure

from perdure.api.errors import Rejected, StatusCode
from perdure.core.message import Origin
from perdure.stores.api import Namespace, Store

DEFAULT_NAMESPACE = "default"


class Namespaces:
    """Known namespaces by name; `default` is made at a store's first start."""

    def __init__(self, store: Store, new_id: Callable[[], str], default_retention_ns: int) -> None:
        self._store = store
        self._new_id = new_id
        self._default_retention_ns = default_retention_ns
        self._by_name: dict[str, Namespace] = {}

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

    def get(self, name: str) -> Namespace:
        """Raises Rejected NOT_FOUND, with the detail that clients expect."""
        namespace = self._by_name.get(name)
        if namespace is None:
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
        return [self._by_name[name] for name in sorted(self._by_name)]
