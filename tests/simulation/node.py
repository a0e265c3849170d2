"""One node of a fleet, from its boot to its end: a machine, an engine on it, and its way to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from perdure import AsyncEngine
from tests.simulation.loops import Machine


class NodeDied(Exception):
    """The node that was asked is dead: whether it did what it was asked to do, nobody knows."""


class Node:
    """Serves requests of other machines while it lives.

    Attributes:
        number: which of the fleet, from 1; a node that comes back keeps it.
        takes: whether clients may go to it.
        is_draining: whether it was told to stop.
    """

    def __init__(self, number: int, machine: Machine) -> None:
        self.number = number
        self.machine = machine
        self.engine: AsyncEngine | None = None
        self.takes = False
        self.is_draining = False
        self._asked: dict[asyncio.Future[Any], None] = {}
        """In order: a set of futures has another one in every run."""

    def ask(
        self,
        client: Machine,
        request: Callable[[AsyncEngine], Coroutine[Any, Any, Any]],
        delay_s: Callable[[], float],
    ) -> asyncio.Future[Any]:
        """Have its engine do that; the future, on the client's machine, holds the answer, or NodeDied."""
        answer: asyncio.Future[Any] = client.create_future()
        self._asked[answer] = None
        answer.add_done_callback(lambda _: self._asked.pop(answer))

        def begin() -> None:
            assert self.engine is not None
            task = self.machine.create_task(request(self.engine))
            task.add_done_callback(lambda done: client.call_later(delay_s(), _hand_over, done, answer))

        self.machine.call_later(delay_s(), begin)
        return answer

    def die(self, client: Machine) -> None:
        """Whoever waits for it is told, as by a connection that breaks."""
        self.takes = False
        for answer in list(self._asked):
            client.call_soon(_break, answer)


def _hand_over(done: asyncio.Task[Any], answer: asyncio.Future[Any]) -> None:
    if answer.done():
        return
    error = NodeDied() if done.cancelled() else done.exception()
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(done.result())


def _break(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(NodeDied())
