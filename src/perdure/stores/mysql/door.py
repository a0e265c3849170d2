"""How connections come about, and how long something is waited for that is not there."""

from __future__ import annotations

import asyncio
import errno

from perdure.stores.api import StoreError
from perdure.stores.mysql.bounds import GROUP
from perdure.stores.mysql.driver import Answer, Connection
from perdure.stores.mysql.url import Settings
from perdure.stores.sql.reach import Reach

_LOCK_WAIT_S = 5
"""How long a statement waits for a row; then its transaction is undone and begun again."""
_WRITER_IDLE_S = 10
"""After so long without a word the server ends the transaction of a writer that it cannot reach any more."""
_LATE_S = 2.0
"""How much longer than the server this side waits for an answer."""
_OLDEST = {True: (10, 11), False: (8, 0)}
"""Of MariaDB, and of MySQL."""
_SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION innodb_lock_wait_timeout = {lock}, "
    "SESSION autocommit = 1; "
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; "
    "SHOW VARIABLES LIKE 'wsrep_on'; "
    "SELECT version(), @@max_allowed_packet"
)
_SEES_ALL = b"SET SESSION wsrep_sync_wait = 1"
"""A member of a group has what any member has answered for, before it reads."""
_COMMITS_WHAT_IS_SAID = b"SET SESSION autocommit = 0"


class Door:
    """Makes connections as a URL says.

    Attributes:
        reach: what became of them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reach = Reach(self._look)
        self.is_mariadb = True
        """Which of the two it is, once there was a connection."""

    async def connect(self, *, writes: bool = False) -> Connection:
        """A connection.

        Raises StoreError for a database that is too old, the driver's errors, OSError.
        """
        # In a task of its own: the driver's `wait_for`, up to Python 3.11, may take a cancellation for nothing.
        self.reach.check()
        connecting = asyncio.ensure_future(self._connect(writes))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_let_go)
            connecting.cancel()
            raise
        except Exception as error:
            self.reach.note(error)
            raise

    async def _look(self) -> None:
        (await self._connect(writes=False)).terminate()

    async def _connect(self, writes: bool) -> Connection:
        timeout_s = self.settings.connect_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._to(self.settings, writes)
        except TimeoutError as error:
            # Not a TimeoutError: of a statement it would mean something else.
            raise ConnectionError(errno.ETIMEDOUT, f"no connection within {timeout_s:g} s") from error

    async def _to(self, settings: Settings, writes: bool) -> Connection:
        connection = await Connection.to(
            host=settings.host,
            port=settings.port,
            unix_socket=settings.unix_socket,
            user=settings.user,
            password=settings.password,
            database=settings.database,
            ssl=settings.tls,
            connect_timeout=int(settings.connect_timeout_s) + 2,  # the one here comes first
            charset="utf8mb4",
            autocommit=None,
        )
        connection.notice_silence(settings.connect_timeout_s)
        try:
            await self._prepare(connection, writes)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _prepare(self, connection: Connection, writes: bool) -> None:
        *_, group, answer = await connection.query(_SESSION.format(lock=_LOCK_WAIT_S).encode())
        [(version, packet_max)] = answer.rows
        text = version.decode() if isinstance(version, bytes) else version
        self.is_mariadb = "mariadb" in text.lower()
        connection.packet_max = packet_max - 1024
        numbers = tuple(int(part) for part in text.split("-")[0].split(".")[:2])
        if numbers < _OLDEST[self.is_mariadb]:
            raise StoreError(f"The store {self.settings.shown} is on {text}: perdure needs MySQL 8.0 or MariaDB 10.11.")
        if any(value in (b"ON", "ON") for _, value in group.rows):
            connection.bounds = GROUP
            await connection.query(_SEES_ALL)
            if writes:
                await connection.query(_COMMITS_WHAT_IS_SAID)
        if writes:
            await connection.query(b"SET SESSION wait_timeout = %d" % _WRITER_IDLE_S)
        elif self.is_mariadb:
            await connection.query(b"SET SESSION max_statement_time = %f" % self.settings.timeout_s)
        else:
            await connection.query(b"SET SESSION max_execution_time = %d" % (self.settings.timeout_s * 1000))

    async def query(self, connection: Connection, text: bytes) -> list[Answer]:
        """The answers of the statements of a text. Raises the driver's errors, OSError, TimeoutError."""
        try:
            async with asyncio.timeout(self.settings.timeout_s + _LATE_S):
                return await connection.query(text)
        except Exception as error:
            self.reach.note(error)
            raise


def _let_go(connecting: asyncio.Future[Connection]) -> None:
    """Nobody waits for this connection any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().terminate()
