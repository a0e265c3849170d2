"""asyncpg, as far as this store uses it: the one module that knows the driver, which has no types of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from perdure.stores.api import StoreError
from perdure.stores.sql import reach

Heard = Callable[[Any, int, str, str], None]
"""Called with the connection, the other's process, the channel and the notice."""
Ended = Callable[[Any], None]


class Connection(Protocol):
    """A connection of asyncpg's."""

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Sequence[Any]]: ...
    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Sequence[Any] | None: ...
    async def fetchval(self, query: str, *args: Any, timeout: float | None = None) -> Any: ...
    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str: ...
    async def add_listener(self, channel: str, callback: Heard) -> None: ...
    def add_termination_listener(self, callback: Ended) -> None: ...
    def transaction(self) -> Any: ...
    def is_in_transaction(self) -> bool: ...
    async def prepare(self, query: str, *, name: str | None = None, timeout: float | None = None) -> Any: ...
    def is_closed(self) -> bool: ...
    def terminate(self) -> None: ...
    async def close(self, *, timeout: float | None = None) -> None: ...


def library() -> Any:
    """The module `asyncpg`. Raises StoreError when it is not installed."""
    try:
        import asyncpg  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise StoreError(
            f"A PostgreSQL store needs asyncpg ({error.name} is missing): pip install 'perdure[postgres]'."
        ) from error
    return asyncpg


def notice_silence(connection: Any, seconds: float) -> None:
    """See `perdure.stores.sql.reach.notice_silence`."""
    reach.notice_silence(getattr(connection, "_transport", None), seconds)


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE that the server answered, empty when it did not answer."""
    return getattr(error, "sqlstate", None) or ""
