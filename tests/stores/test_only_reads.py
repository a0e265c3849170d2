"""A store of which nothing can be changed through this one."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from perdure.stores.api import Store, StoreError
from perdure.stores.memory import MemoryStore
from perdure.stores.only_reads import WRITES, only_reads

READS = {
    "open", "close", "load", "history", "due", "next_wake_at_ns", "tasks", "count_tasks", "pending_messages", "queues",
    "in_flight", "find_executions", "count_executions", "closed_before", "record", "records", "due_records",
    "next_record_wake_at_ns", "namespaces", "notify", "listen", "table_sizes", "largest_histories",
}  # fmt: skip


def test_every_method_of_a_store_is_one_or_the_other() -> None:
    methods = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    assert methods == READS | WRITES


@pytest.mark.parametrize("name", sorted(WRITES))
def test_what_would_write_is_refused_by_name(name: str) -> None:
    store = only_reads(MemoryStore(), "orders")
    with pytest.raises(StoreError, match="store orders is open for reading alone"):
        asyncio.run(getattr(store, name)([]))


def test_what_reads_is_the_stores_own() -> None:
    inner = MemoryStore()
    store = only_reads(inner, "orders")
    assert (store.transactional, store.enlisting, store.is_shared) == (None, None, inner.is_shared)
    assert all(getattr(store, name) == getattr(inner, name) for name in READS)
