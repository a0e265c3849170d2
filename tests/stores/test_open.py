"""From a URL to a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.stores.api import StoreError
from perdure.stores.memory import MemoryStore
from perdure.stores.open import open_store
from perdure.stores.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///orders.db", "orders.db"),
        ("sqlite:///data/orders.db", "data/orders.db"),
        ("sqlite:////var/lib/orders.db", "/var/lib/orders.db"),
        ("sqlite:////var/lib/all%20orders%25.db", "/var/lib/all orders%.db"),
        ("sqlite:////var/lib/orders #1?.db", "/var/lib/orders #1?.db"),
    ],
)
def test_a_sqlite_url_names_a_file(url: str, path: str) -> None:
    store = open_store(url)
    assert isinstance(store, SqliteStore)
    assert store.path == Path(path).absolute()


def test_a_memory_url_is_a_store_of_its_own() -> None:
    first, second = open_store("memory://"), open_store("memory://")
    assert isinstance(first, MemoryStore)
    assert first is not second


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("postgresql://host/orders", "later release"),
        ("postgres://host/orders", "later release"),
        ("mysql://host/orders", "sqlite:///orders.db"),
        ("orders.db", "sqlite:///orders.db"),
        ("", "memory://"),
        ("sqlite://orders.db", "sqlite:///orders.db"),
        ("sqlite:orders.db", "sqlite:///orders.db"),
        ("sqlite://", "sqlite:///orders.db"),
        ("sqlite:///", "sqlite:///orders.db"),
        ("sqlite:////var/lib/", "sqlite:///orders.db"),
        ("sqlite:///:memory:", "memory://"),
        ("memory://orders", "memory://"),
        ("memory:///orders", "memory://"),
    ],
)
def test_a_url_that_is_not_understood_is_told_what_to_write(url: str, fix: str) -> None:
    with pytest.raises(StoreError) as refused:
        open_store(url)
    assert fix in str(refused.value)
