"""From the URL that a user writes to a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from perdure.stores.api import Store, StoreError
from perdure.stores.memory import MemoryStore
from perdure.stores.mysql import MysqlStore
from perdure.stores.mysql import url as mysql_url
from perdure.stores.only_reads import missing
from perdure.stores.postgres import PostgresStore
from perdure.stores.postgres import url as postgres_url
from perdure.stores.sqlite import SqliteStore

_EXAMPLES = (
    "`sqlite:///orders.db` (relative), `sqlite:////var/lib/orders.db` (absolute), `postgresql://user@host/orders`, "
    "`mysql://user@host/orders` or `memory://`"
)
_POSTGRES = ("postgresql", "postgres")
_MYSQL = ("mysql", "mariadb")


def open_store(url: str, *, creates: bool = True) -> Store:
    """The store that `url` names, not opened yet.

    `creates=False`: it must be there, as this perdure has it; `open` then makes nothing and brings nothing up to date,
    but says what is missing. So it is for whoever only looks, or changes one thing.

    * `sqlite:///orders.db`: a file beside the working directory; `sqlite:////var/lib/orders.db`: an
      absolute path. Percent-encoding is undone (`%20`), so every path can be written.
    * `postgresql://user:password@host:5432/database`: tables in a schema of their own, which any number of engines
      share; `stores/postgres/url.py` has the options.
    * `mysql://user:password@host:3306/database`, or `mariadb://`: tables in a database, which any number of engines
      share; `stores/mysql/url.py` has the options.
    * `memory://`: in this process, gone with it.

    Raises StoreError for anything else, saying what would be right.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        if parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
            raise StoreError(f"The store URL {url!r} is not understood: a memory store has no name, write `memory://`.")
        if not creates:
            raise StoreError(
                "A store in memory is its process's alone: ask that, if it is a server (grpc://host:7233)."
            )
        return MemoryStore()
    if parts.scheme == "sqlite":
        path = sqlite_path(url)
        if not creates and not path.is_file():
            raise missing(path)
        return SqliteStore(path)
    if parts.scheme in _POSTGRES:
        return PostgresStore(url, creates=creates)
    if parts.scheme in _MYSQL:
        return MysqlStore(url, creates=creates)
    raise StoreError(f"The store URL {postgres_url.shown(url)!r} is not understood: write {_EXAMPLES}.")


def shown_url(url: str) -> str:
    """A store's URL as logs and messages may have it: without a password."""
    scheme = urlsplit(url).scheme
    if scheme in _MYSQL:
        return mysql_url.shown(url)
    return postgres_url.shown(url) if scheme in _POSTGRES else url


def sqlite_path(url: str) -> Path:
    """What stands behind `sqlite:///`, which may hold `?` and `#`: they are legal in a file name."""
    prefix, path = url[: len("sqlite:///")], unquote(url[len("sqlite:///") :])
    if prefix != "sqlite:///" or not path or path.endswith("/"):
        raise StoreError(
            f"The store URL {url!r} names no file: write `sqlite:///orders.db` (relative) or "
            "`sqlite:////var/lib/orders.db` (absolute)."
        )
    if path.startswith(":memory:"):
        raise StoreError(f"The store URL {url!r} names no file: for a store in memory write `memory://`.")
    return Path(path)
