"""The namespaces, in memory: every request names one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from temporalio.api.enums.v1 import NamespaceState
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure

from perdure.api.errors import Rejected, StatusCode
from perdure.core.message import Origin
from perdure.core.search_attributes import is_reserved
from perdure.engine.feed.news import News
from perdure.engine.node.config import EngineConfig
from perdure.stores.api import Namespace, Outcome, Store, StoreError

_log = logging.getLogger(__name__)

DEFAULT_NAMESPACE = "default"
_TRIES_MAX = 20
"""Changes that other nodes may make while this one tries to make its own."""
DELETED = NamespaceState.NAMESPACE_STATE_DELETED


class Namespaces:
    """Known namespaces by name; `default` is made at a store's first start."""

    def __init__(self, store: Store, new_id: Callable[[], str], config: EngineConfig) -> None:
        self._store = store
        self._new_id = new_id
        self._config = config
        self._by_name: dict[str, Namespace] = {}
        self._turn = asyncio.Lock()
        self._learned: dict[str, dict[str, int]] = {}
        """Search attributes by namespace that are not stored yet."""
        self._saving: set[asyncio.Task[None]] = set()
        self._refreshing: asyncio.Task[None] | None = None
        self._is_behind = False
        self.on_change: Callable[[], None] = _tell_nobody
        """Called when this node has changed some, so that the others learn of it."""

    async def start(self) -> None:
        """Read them all. Raises StoreError."""
        await self.refresh()
        if DEFAULT_NAMESPACE not in self._by_name:
            await self.add(Namespace(DEFAULT_NAMESPACE, self._new_id(), self._config.default_retention_ns))
        for name, retention_ns in self._config.retentions.items():
            namespace = self._by_name.get(name)
            if namespace is not None and namespace.retention_ns != retention_ns:
                await self.change(name, partial(replace, retention_ns=retention_ns))

    async def stop(self) -> None:
        """Wait for what is being stored."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
            self._refreshing = None
        while self._saving:
            await asyncio.wait(self._saving)

    async def refresh(self) -> None:
        """Read them again: another engine may have added one. Raises StoreError."""
        self._by_name = {namespace.name: namespace for namespace in await self._store.namespaces()}

    def hear(self, news: News) -> None:
        """News are of runs, not of namespaces."""

    def gap(self) -> None:
        """Another node may have changed some."""
        self._is_behind = True
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Refresh, until the store has served after the last call for it."""
        while self._is_behind:
            self._is_behind = False
            try:
                async with self._turn:
                    await self.refresh()
            except StoreError as error:
                _log.warning("the namespaces cannot be read again, trying again: %s", error)
                self._is_behind = True
                await asyncio.sleep(self._config.store_retry_ns / 1e9)
        self._refreshing = None

    async def add(self, namespace: Namespace) -> bool:
        """Make it; False: there is one of that name, which is known now. Raises StoreError."""
        async with self._turn:
            return await self._put(namespace, None)

    async def _put(self, namespace: Namespace, expected: Namespace | None) -> bool:
        if await self._store.put_namespace(namespace, expected) is not Outcome.APPLIED:
            await self.refresh()
            return False
        self._by_name[namespace.name] = namespace
        self.on_change()
        return True

    async def change(self, name: str, change: Callable[[Namespace], Namespace]) -> Namespace:
        """Put what `change` makes of it; changes follow one another. Raises Rejected, StoreError."""
        async with self._turn:
            for _ in range(_TRIES_MAX):
                known = self.get(name)
                changed = change(known)
                if changed == known or await self._put(changed, known):
                    return changed
        raise Rejected(StatusCode.UNAVAILABLE, f"Namespace {name} is being changed too often: try again.")

    async def forget(self, name: str) -> None:
        """A namespace is gone, with all that was in it. Raises StoreError."""
        await self._store.remove_namespace(name)
        self._by_name.pop(name, None)
        self.on_change()

    def is_taken(self, name: str) -> bool:
        """Whether there is one of this name, or one that is being deleted."""
        return name in self._by_name

    def is_usable(self, name: str) -> bool:
        """Whether there is one of this name that is not being deleted."""
        namespace = self._by_name.get(name)
        return namespace is not None and namespace.state != DELETED

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
        """The custom ones of a namespace, with their types. Raises Rejected NOT_FOUND."""
        return {**self._learned.get(name, {}), **self.get(name).search_attributes}

    def attribute_type(self, name: str, attribute: str, declared: int) -> int:
        """See `Context.attribute_type`; an engine that learns registers here what it did not know."""
        namespace = self._by_name.get(name)
        if namespace is None:
            return 0
        known = namespace.search_attributes.get(attribute) or self._learned.get(name, {}).get(attribute, 0)
        if known or not declared or not self._config.learns_search_attributes or is_reserved(attribute):
            return known
        self._learned.setdefault(name, {})[attribute] = declared
        task = asyncio.get_running_loop().create_task(self._save_learned(name))
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        return declared

    async def _save_learned(self, name: str) -> None:
        """Store what was learned; a type that an operator has registered meanwhile stays.

        Should it fail, the attribute is known until the next start, and learned again when it is set again.
        """
        learned = dict(self._learned.get(name, {}))
        try:
            await self.change(
                name, lambda known: replace(known, search_attributes={**learned, **known.search_attributes})
            )
        except (StoreError, Rejected) as error:
            _log.warning("search attributes that are new to namespace %r cannot be stored: %s", name, error)

    def all(self) -> list[Namespace]:
        """By name."""
        return [namespace for _, namespace in sorted(self._by_name.items()) if namespace.state != DELETED]

    def deleted(self) -> list[Namespace]:
        """The namespaces that are being deleted."""
        return [namespace for _, namespace in sorted(self._by_name.items()) if namespace.state == DELETED]


def _tell_nobody() -> None:
    """There is no other node."""
