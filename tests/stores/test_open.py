"""From a URL to a store."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from perdure.stores.api import StoreError
from perdure.stores.memory import MemoryStore
from perdure.stores.mysql import MysqlStore
from perdure.stores.mysql import url as mysql_url
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
        ("oracle://host/orders", "sqlite:///orders.db"),
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


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_a_mysql_url_names_a_database(scheme: str) -> None:
    url = f"{scheme}://al%40ice:s%2Fecret@db:3307/orders?timeout=2.5&connections=8&unix_socket=/run/db.sock"
    assert isinstance(open_store(url), MysqlStore)
    settings = mysql_url.read_url(url)
    assert (settings.user, settings.password, settings.host, settings.port) == ("al@ice", "s/ecret", "db", 3307)
    assert (settings.database, settings.timeout_s, settings.readers) == ("orders", 2.5, 8)
    assert settings.unix_socket == "/run/db.sock"
    assert settings.tls is None
    assert "ecret" not in settings.shown + shown_url(url)


def test_a_mysql_url_says_how_it_is_encrypted() -> None:
    assert mysql_url.read_url("mysql://db/orders?ssl_mode=disabled").tls is None
    required = mysql_url.read_url("mysql://db/orders?ssl_mode=required").tls
    assert required is not None and required.verify_mode is ssl.CERT_NONE
    whoever = mysql_url.read_url("mysql://db/orders?ssl_mode=verify-ca").tls
    assert whoever is not None and whoever.verify_mode is ssl.CERT_REQUIRED and not whoever.check_hostname
    strict = mysql_url.read_url("mysql://db/orders?ssl_mode=verify-full").tls
    assert strict is not None and strict.check_hostname


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("mysql://u:secret@host", "names no database"),
        ("mysql://u:secret@host/a/b", "names no database"),
        ("mysql://u:secret@host:port/orders", "mysql://user:password@localhost:3306/orders"),
        ("mysql://u:a/secret@host/orders?user=me", "`%2F`"),
        ("mysql://u@host/orders?password=secret", "unknown option 'password'"),
        ("mysql://u:secret@host/orders?tls=yes", "unknown option 'tls': there are ssl_mode"),
        ("mysql://u:secret@host/orders?ssl_mode=maybe", "verify-full"),
        ("mysql://u:secret@host/orders?ssl_ca=/no/such/file", "certificates that cannot be read"),
        ("mysql://u:secret@host/orders?timeout=0", "write seconds"),
        ("mysql://u:secret@host/orders?connections=1.5", "from 1 to 100"),
    ],
)
def test_a_mysql_url_that_is_not_understood_is_told_what_to_write(url: str, fix: str) -> None:
    with pytest.raises(StoreError) as refused:
        open_store(url)
    assert fix in str(refused.value)
    assert "secret" not in str(refused.value)
