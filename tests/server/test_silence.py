"""Clients that are gone without a word: found by looking at the clock, which the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from perdure.frontend.grpc import frames
from perdure.frontend.grpc.connection import Connection
from perdure.frontend.grpc.stream import Stream

SILENT_S, STUCK_S, GREETING_S = 60.0, 30.0, 15.0


class Pipe:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.behind = 0
        self.is_aborted = False

    def get_extra_info(self, name: str) -> None:
        """It comes from nowhere."""

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def get_write_buffer_size(self) -> int:
        return self.behind

    def set_write_buffer_limits(self, high: int) -> None:
        """As it likes."""


class Nobody:
    """A host that starts nothing."""

    unsent = buffered = 0

    def came(self, connection: Connection) -> bool:
        return True

    def went(self, connection: Connection) -> None:
        """Nobody misses it."""

    def ready(self, connection: Connection) -> None:
        """Nobody serves it."""

    heard = ready

    def opened(self, connection: Connection, stream: Stream) -> None:
        """Nobody listens."""


def connected(test: Callable[[Connection, Pipe, float], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test with a connection that has just been made, and the time of that."""

    async def run() -> None:
        connection, pipe = Connection(Nobody()), Pipe()
        connection.connection_made(cast(asyncio.Transport, pipe))
        await test(connection, pipe, asyncio.get_running_loop().time())

    def scenario() -> None:
        asyncio.run(run())

    scenario.__name__, scenario.__doc__ = test.__name__, test.__doc__
    return scenario


def look(connection: Connection, now: float) -> None:
    connection.check(now, SILENT_S, STUCK_S, GREETING_S)


@connected
async def test_who_never_says_what_it_speaks_is_cut_off(connection: Connection, pipe: Pipe, now: float) -> None:
    look(connection, now + 14)
    assert not pipe.is_aborted
    look(connection, now + 16)
    assert pipe.is_aborted


@connected
async def test_a_silent_client_is_asked_and_then_given_up(connection: Connection, pipe: Pipe, now: float) -> None:
    connection.data_received(frames.PREFACE + frames.settings({}))
    look(connection, now + 61)
    await asyncio.sleep(0)
    assert frames.frame(frames.PING, 0, 0, b"perdure?") in pipe.written
    look(connection, now + 100)
    assert not pipe.is_aborted
    look(connection, now + 122)
    assert pipe.is_aborted


@connected
async def test_a_client_that_answers_stays(connection: Connection, pipe: Pipe, now: float) -> None:
    connection.data_received(frames.PREFACE + frames.settings({}))
    look(connection, now + 61)
    connection.data_received(frames.frame(frames.PING, frames.ACK, 0, b"perdure?"))
    look(connection, now + 59)
    assert not pipe.is_aborted


@connected
async def test_who_takes_nothing_for_half_a_minute_is_cut_off(connection: Connection, pipe: Pipe, now: float) -> None:
    connection.data_received(frames.PREFACE + frames.settings({}))
    await asyncio.sleep(0)
    pipe.behind = 1
    look(connection, now + 29)
    assert not pipe.is_aborted
    look(connection, now + 31)
    assert pipe.is_aborted
