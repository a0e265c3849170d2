"""How connections come about, and how long something is waited for that is not there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from perdure.stores.postgres.driver import Connection, library
from perdure.stores.postgres.url import Settings

_log = logging.getLogger(__name__)

WRITING = {
    # Every statement is planned once, and finds its rows by their keys however few there were when it was planned.
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class Door:
    """Makes connections as a URL says."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._driver = library()

    async def connect(self, purpose: str, *, writes: bool = False, dsn: str | None = None) -> Connection:
        """A connection. Raises the driver's errors, OSError.

        Through a pooler nothing is set in the session, for it is shared, and no statement is kept there.
        """
        settings = self.settings
        is_pooled = settings.is_pooled and dsn is None
        session = {"application_name": f"perdure {purpose}"}
        if not is_pooled:
            session.update(WRITING if writes else {"jit": "off"})
            session["statement_timeout"] = str(int(settings.timeout_s * 2_000))  # the one here comes first
            session["idle_in_transaction_session_timeout"] = str(int(settings.timeout_s * 2_000))
        connecting = asyncio.ensure_future(
            self._driver.connect(
                dsn or settings.dsn,
                timeout=settings.connect_timeout_s,
                statement_cache_size=0 if is_pooled else 500,
                max_cached_statement_lifetime=0,
                max_cacheable_statement_size=0,
                server_settings=session,
            )
        )
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:  # the driver leaves things behind when it is interrupted
            connecting.add_done_callback(_let_go)
            raise
        except TimeoutError as error:  # of a statement it would mean something else
            raise ConnectionError(f"no connection within {settings.connect_timeout_s:g} s") from error

    async def fetch(self, connection: Connection, sql: str, args: Sequence[Any]) -> list[Sequence[Any]]:
        """The rows of a statement. Raises the driver's errors, TimeoutError.

        A pooler may change the session between parsing and executing, unless there is a transaction.
        """
        if not self.settings.is_pooled:
            return await connection.fetch(sql, *args, timeout=self.settings.timeout_s)
        async with asyncio.timeout(self.settings.timeout_s), connection.transaction():
            return await connection.fetch(sql, *args)


def _let_go(connecting: asyncio.Future[Connection]) -> None:
    """Nobody wants the connection any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()
