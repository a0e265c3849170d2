"""Requests in a transaction of the caller's own: `engine.start(..., connection=connection)`.

What is asked for is written by the caller's connection, as a row beside the caller's rows. Committed, it is done, once;
rolled back, it never was. Nothing is sent to the engine before: so nothing has to be undone.

A connection is psycopg's (3, either kind) or asyncpg's. One that commits every statement by itself is refused, for it
has no transaction to take part in; so is one to another database.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from temporalio.api.workflowservice import v1 as service

from perdure.api.enlistment import Enlistment, Standing
from perdure.sdk.client.calls import FIRST_PAUSE_S, Reach
from perdure.sdk.connection.protocol import EnlistingConnection
from perdure.sdk.errors import EngineError, WorkflowNotFoundError

Request = TypeVar(
    "Request",
    service.StartWorkflowExecutionRequest,
    service.SignalWorkflowExecutionRequest,
    service.SignalWithStartWorkflowExecutionRequest,
)

_LONGEST_PAUSE_S = 0.5
_MARK = re.compile(r"\$\d+")
_NO_TABLES = ("42P01", "3F000")
_NO_RIGHT = "42501"


class Enlisted:
    """A request that was written in a transaction. `what` names it in errors.

    Attributes:
        is_attached: of a start: whether its very request has been done by another one, should it be refused.
    """

    is_attached: Callable[[], Awaitable[bool]] | None = None

    def __init__(self, reach: Reach, name: str, transaction: str, what: str) -> None:
        self._reach = reach
        self._name = name
        self._transaction = transaction
        self._what = what

    async def done(self) -> None:
        """Wait until it was done.

        Raises:
            EngineError: its transaction is not committed yet; or it was refused when it was to be done.
            WorkflowAlreadyStartedError: so it was, for another request was quicker to start under its id.
            WorkflowNotFoundError: its transaction was rolled back.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            standing, refusal = await self._standing()
            if standing is Standing.GONE:
                return
            if standing is Standing.UNCOMMITTED:
                raise EngineError(f"{self._what} is part of a transaction that is not committed: commit it first")
            if standing is Standing.ROLLED_BACK:
                raise WorkflowNotFoundError(f"{self._what} was part of a transaction that was rolled back")
            if standing is Standing.REFUSED:
                if self.is_attached is not None and await self.is_attached():
                    return
                raise EngineError(f"{self._what} was committed, and could not be done: {refusal}")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _standing(self) -> tuple[Standing, str]:
        reach = self._reach
        connection = _enlisting(reach, self._what)

        async def ask(name: str) -> tuple[Standing, str]:
            return await connection.standing_of_enlisted(reach.namespace, name, self._transaction)

        return await reach.ask(ask, self._name, self._what)


async def enlist(
    reach: Reach, connection: Any, request: Request, what: str
) -> Enlisted | service.StartWorkflowExecutionResponse:
    """Write the request in the transaction of a connection. A response: the run is there, and nothing was written.

    Raises Rejected as the RPC of the request, TypeError, EngineError.
    """
    run = _driver_of(connection)
    near = _enlisting(reach, what)
    enlistment = await near.enlist(request)
    if not isinstance(enlistment, Enlistment):
        return enlistment
    try:
        row = await run(connection, enlistment.sql, enlistment.args)
    except Exception as error:
        raise _explained(error, enlistment, what) from error
    if row is None:
        raise EngineError(
            f"{what}: the connection leads to another database than the engine's store, {enlistment.store}: a "
            "transaction is of one database"
        )
    return Enlisted(reach, enlistment.name, row[0], what)


async def enlist_or_explain(reach: Reach, connection: Any, request: Request, what: str) -> Enlisted:
    """As `enlist`, of a request that is written in any case, with the errors that users know."""
    enlisted = await reach.ask(partial(enlist, reach, connection, what=what), request, what)
    assert isinstance(enlisted, Enlisted), "a signal attaches to nothing"
    return enlisted


def refuse_awaited(connection: Any) -> None:
    """Raises TypeError for a connection of an event loop, which code that blocks cannot use."""
    if connection is not None and _driver_of(connection) in (_by_asyncpg, _by_async_psycopg):
        raise TypeError(
            f"connection is a {type(connection).__qualname__}, which belongs to an event loop, and this call blocks: "
            "use the engine there too, `async with Engine(...) as engine` and `await engine.start(...)`, or give it a "
            "psycopg.Connection"
        )


def _enlisting(reach: Reach, what: str) -> EnlistingConnection:
    if isinstance(reach.connection, EnlistingConnection):
        return reach.connection
    raise EngineError(
        f"{what}: a server cannot take part in a transaction of yours: connection=... needs the engine in this "
        "process, Engine('postgresql://...'), on the database that the connection leads to"
    )


def _driver_of(connection: Any) -> Any:
    """How a statement is run on a connection. Raises TypeError, EngineError."""
    kind = cast(type[Any], type(connection))
    drivers = {base.__module__.split(".")[0] for base in kind.__mro__}
    if "asyncpg" in drivers and hasattr(connection, "fetchrow"):
        if not connection.is_in_transaction():
            raise EngineError(_NO_TRANSACTION.format(how="`async with connection.transaction():`"))
        return _by_asyncpg
    if "psycopg" in drivers and hasattr(connection, "pgconn"):
        from psycopg import AsyncConnection
        from psycopg.pq import TransactionStatus

        if connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
            raise EngineError(_NO_TRANSACTION.format(how="`with connection.transaction():`"))
        return _by_async_psycopg if isinstance(connection, AsyncConnection) else _by_psycopg
    raise TypeError(
        f"connection must be one of psycopg's (3) or asyncpg's, not {kind.__module__}.{kind.__qualname__}: of a pool "
        "or a session give the driver's own connection"
    )


_NO_TRANSACTION = (
    "the connection commits every statement by itself, and there is no transaction to take part in: begin one, {how}"
)


async def _by_asyncpg(connection: Any, sql: str, args: Sequence[Any]) -> Any:
    return await connection.fetchrow(sql, *args)


async def _by_psycopg(connection: Any, sql: str, args: Sequence[Any]) -> Any:
    return await asyncio.to_thread(_run, connection, sql, args)


def _run(connection: Any, sql: str, args: Sequence[Any]) -> Any:
    from psycopg import Cursor
    from psycopg.rows import tuple_row

    with Cursor(connection, row_factory=tuple_row) as cursor:
        return cursor.execute(_formatted(sql), args).fetchone()


async def _by_async_psycopg(connection: Any, sql: str, args: Sequence[Any]) -> Any:
    from psycopg import AsyncCursor
    from psycopg.rows import tuple_row

    async with AsyncCursor(connection, row_factory=tuple_row) as cursor:
        return await (await cursor.execute(_formatted(sql), args)).fetchone()


def _formatted(sql: str) -> Any:
    """With parameters marked as psycopg marks them."""
    return _MARK.sub("%s", sql).encode()


def _explained(error: Exception, enlistment: Enlistment, what: str) -> Exception:
    """What the database said, with what is to be done about it where that is known."""
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate in _NO_TABLES:
        return EngineError(
            f"{what}: the connection leads to a database without the tables of the engine's store, {enlistment.store}"
        )
    if sqlstate == _NO_RIGHT:
        return EngineError(
            f"{what}: the connection's user may not write to the engine's store ({error}): grant it USAGE on the "
            "schema, and INSERT on its table `records`"
        )
    return EngineError(f"{what} could not be written in the transaction: {error}")
