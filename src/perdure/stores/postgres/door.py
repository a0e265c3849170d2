"""How connections come about, and how long something is waited for that is not there."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Sequence
from typing import Any

from perdure.stores.postgres.driver import Connection, library, notice_silence
from perdure.stores.postgres.url import Settings
from perdure.stores.sql.reach import Reach

_log = logging.getLogger(__name__)

WRITING = {
    # Every statement is planned once, and finds its rows by their keys however few there were when it was planned.
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


def _alive(seconds: float) -> dict[str, str]:
    """Settings by which the server, too, lets go of a connection whose other end does not acknowledge anything."""
    whole = str(max(1, round(seconds)))
    return {
        "tcp_user_timeout": str(int(seconds * 1_000)),
        "tcp_keepalives_idle": whole,
        "tcp_keepalives_interval": "1",
        "tcp_keepalives_count": whole,
    }


class Door:
    """Makes connections as a URL says.

    Attributes:
        reach: what became of them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reach = Reach(self._look)
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
            session.update(_alive(settings.connect_timeout_s))
        self.reach.check()
        try:
            connection = await self._connect(dsn or settings.dsn, session, is_pooled=is_pooled)
        except Exception as error:
            self.reach.note(error)
            raise
        notice_silence(connection, settings.connect_timeout_s)
        return connection

    async def _look(self) -> None:
        (await self._connect(self.settings.dsn, {}, is_pooled=True)).terminate()

    async def _connect(self, dsn: str, session: dict[str, str], *, is_pooled: bool) -> Connection:
        timeout_s = self.settings.connect_timeout_s
        connecting = asyncio.ensure_future(
            self._driver.connect(
                dsn,
                timeout=timeout_s,
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
        except TimeoutError as error:
            # Not a TimeoutError: of a statement it would mean something else.
            raise ConnectionError(errno.ETIMEDOUT, f"no connection within {timeout_s:g} s") from error

    async def fetch(self, connection: Connection, sql: str, args: Sequence[Any]) -> list[Sequence[Any]]:
        """The rows of a statement. Raises the driver's errors, TimeoutError.

        A pooler may change the session between parsing and executing, unless there is a transaction.
        """
        try:
            if not self.settings.is_pooled:
                return await connection.fetch(sql, *args, timeout=self.settings.timeout_s)
            async with asyncio.timeout(self.settings.timeout_s), connection.transaction():
                return await connection.fetch(sql, *args)
        except Exception as error:
            self.reach.note(error)
            raise


def _let_go(connecting: asyncio.Future[Connection]) -> None:
    """Nobody wants the connection any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()
