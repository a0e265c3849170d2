"""How the client calls the server: trying again what is transient, and raising errors that users know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio.api.errordetails.v1 import WorkflowExecutionAlreadyStartedFailure

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.connection.protocol import Connection
from perdure.sdk.convert import Converter
from perdure.sdk.errors import EngineError, WorkflowAlreadyStartedError, WorkflowNotFoundError
from perdure.sdk.interceptors import ClientOutboundInterceptor

Request = TypeVar("Request")
Response = TypeVar("Response")

TRANSIENT = frozenset({StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.ABORTED})
FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 2.0


class Reach:
    """What everything of one client shares.

    Args:
        check: called before every request, and again before each repetition; raises when the client cannot be used.
        new_id: makes request ids and default workflow ids.
        retry_s: about how long a request is repeated while the server is busy or away.

    Attributes:
        outbound: the chain of interceptors; None where there are none.
        now_ns: the time by the server's clock, as far as it is known here; nanoseconds since the epoch.
    """

    __slots__ = ("check", "connection", "converter", "identity", "namespace", "new_id", "now_ns", "outbound", "retry_s")

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        converter: Converter,
        identity: str,
        retry_s: float,
        new_id: Callable[[], str],
        check: Callable[[], None],
    ) -> None:
        self.connection = connection
        self.namespace = namespace
        self.converter = converter
        self.identity = identity
        self.retry_s = retry_s
        self.new_id = new_id
        self.check = check
        self.outbound: ClientOutboundInterceptor | None = None
        self.now_ns: Callable[[], int] = time.time_ns

    async def bug(self) -> Exception | None:
        """What keeps a run from going on, if who waits is to be told that instead of a time-out: in tests alone."""
        return None

    async def call(self, rpc: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        """Raises Rejected: what the server says, unchanged."""
        pause_s, spent_s = FIRST_PAUSE_S, 0.0
        while True:
            self.check()
            try:
                return await rpc(request)
            except Rejected as rejected:
                if rejected.code not in TRANSIENT or spent_s >= self.retry_s:
                    raise
            await asyncio.sleep(pause_s)
            spent_s += pause_s
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def start(
        self,
        rpc: Callable[[Request], Awaitable[Response]],
        request: Request,
        workflow_id: str,
        workflow_type: str,
    ) -> Response:
        """As `ask`, of what starts a workflow. Raises WorkflowAlreadyStartedError when the policies forbid."""
        try:
            return await self.call(rpc, request)
        except Rejected as rejected:
            if rejected.code != StatusCode.ALREADY_EXISTS:
                raise public_error(rejected, f"starting workflow {workflow_id!r}") from rejected
            detail = rejected.detail
            run_id = detail.run_id if isinstance(detail, WorkflowExecutionAlreadyStartedFailure) else ""
            raise WorkflowAlreadyStartedError(
                f"workflow {workflow_id!r} was started already, and the policies forbid another: {rejected.message}",
                workflow_id=workflow_id,
                run_id=run_id,
                workflow_type=workflow_type,
            ) from rejected

    async def ask(self, rpc: Callable[[Request], Awaitable[Response]], request: Request, what: str) -> Response:
        """As `call`, with the errors that users know. `what` names the question in them."""
        try:
            return await self.call(rpc, request)
        except Rejected as rejected:
            raise public_error(rejected, what) from rejected


def public_error(rejected: Rejected, what: str) -> Exception:
    """The error that users know for a refusal.

    Args:
        what: names what was asked, e.g. "describing workflow 'order-1'".
    """
    if rejected.code == StatusCode.NOT_FOUND:
        return WorkflowNotFoundError(f"{what}: {rejected.message}")
    return EngineError(f"{what} was refused ({rejected.code.name}): {rejected.message}")
