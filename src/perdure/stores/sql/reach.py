"""Whether a database is reached at all: what is sent to it and never answered is noticed, and then tried by one alone.

A server that is down says so, or its machine does, and is worth some patience: it will be back, or another one in its
place. A network that is cut says nothing. Sockets find that out by themselves, for nobody acknowledges what they send;
from then on whoever wants to connect is told at once that there is no use in it, until a connection came about.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any

_SILENT = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
_PAUSE_S = 0.5
CUT_S = 3.0
"""How long a commit that was on its way waits for a network that is cut, before it is told that it is not known."""


class Reach:
    """What the connections of one store have found out.

    Attributes:
        is_cut: nobody answers.
    """

    def __init__(self, connect: Callable[[], Awaitable[None]]) -> None:
        """`connect` connects, and lets go again. Raises the driver's errors, OSError, TimeoutError."""
        self._connect = connect
        self._trying: asyncio.Task[None] | None = None
        self.is_cut = False

    def note(self, error: BaseException) -> None:
        """What ended a connection, or a try to connect."""
        if _is_silence(error) and not self.is_cut:
            self.is_cut = True
            self._trying = asyncio.get_running_loop().create_task(self._try(), name="reach")

    def check(self) -> None:
        """Raises ConnectionError while there is no use in trying."""
        if self.is_cut:
            raise ConnectionError(errno.ETIMEDOUT, "nothing that is sent there is answered")

    async def _try(self) -> None:
        """Until somebody answers, be it with a refusal."""
        while True:
            try:
                await self._connect()
            except Exception as error:
                if _is_silence(error):
                    await asyncio.sleep(_PAUSE_S)
                    continue
            self.is_cut = False
            return

    async def close(self) -> None:
        """Try no more. Idempotent."""
        task, self._trying = self._trying, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def _is_silence(error: BaseException) -> bool:
    """Whether that is the cause: not that an answer took long, which is a TimeoutError without a number."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.errno in _SILENT):
        cause = cause.__cause__
    return cause is not None


def notice_silence(transport: Any, seconds: float) -> None:
    """Have a connection end when nobody acknowledges for so long what it sends, where the system can do that.

    Something is sent now and then while there is nothing to say, for a connection that only hears would never know.
    """
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    whole = max(1, round(seconds))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", whole), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", whole)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
