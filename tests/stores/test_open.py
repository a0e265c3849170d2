"""From a URL to a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.stores.api import StoreError
from perdure.stores.memory import MemoryStore
from perdure.stores.open import open_store, shown_url
from perdure.stores.postgres import PostgresStore
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
        ("postgresql+asyncpg://host/orders", "postgresql://user@host/orders"),
        ("postgresql://host/orders?schema=no-name", "letters"),
        ("postgresql://host/orders?timeout=soon", "timeout=soon"),
        ("postgresql://host/orders?pgbouncer=perhaps", "true or false"),
        ("postgresql://host/orders?connections=0", "connections=0"),
        ("postgresql://host/orders#1", "%23"),
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


@pytest.mark.parametrize("url", ["postgresql://me@host:5432/orders?schema=shop", "postgres://host/orders"])
def test_a_postgresql_url_names_a_database(url: str) -> None:
    assert isinstance(open_store(url), PostgresStore)


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("postgresql://me:secret@host/orders", "postgresql://me@host/orders"),
        ("postgresql://me:se%40cret@host/orders?schema=a", "postgresql://me@host/orders?schema=a"),
        ("postgresql://host/orders?user=me&password=secret", "postgresql://host/orders?user=me"),
        ("postgresql://me@host/o?listen=postgresql%3A%2F%2Fme%3Asecret%40other%2Fo", "postgresql://me@host/o"),
        ("postgresql://:secret@host/orders", "postgresql://@host/orders"),
        ("postgresql://me:se@cret@host/orders", "postgresql://me@host/orders"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
    ],
)
def test_a_password_is_shown_to_nobody(url: str, public: str) -> None:
    assert shown_url(url) == public
    if "secret" in url:
        with pytest.raises(StoreError) as refused:
            open_store(url.replace("postgresql:", "mypostgresql:"))
        assert "secret" not in str(refused.value)
