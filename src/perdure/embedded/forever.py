"""`run_forever`: a program that is nothing but a worker, and how it is told to end.

SIGTERM is how a service manager, a container runtime or a deploy says goodbye; SIGINT is Ctrl-C. Told once, the
engine takes no new task, lets what runs end within its grace period, and closes; told again, it stops at once. Either
way the program goes on behind `run_forever`, and if nothing is there, exits with 0: nothing was lost, and what was cut
short is run again by the next start.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger("perdure.worker")

LOOK_UP_S = 0.5
"""A thread that waits for signals looks up so often: see `LoopThread.call`."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """What ends it. Attributes: `told`: set on the engine's loop by the first signal, or when the engine is closed.

    Args:
        hurry: called by every signal behind the first one.
    """

    def __init__(self, hurry: Callable[[], None]) -> None:
        self.told = asyncio.Event()
        self._hurry = hurry

    def tell(self, number: int) -> None:
        """A signal came. On the engine's loop."""
        name = signal.Signals(number).name
        if self.told.is_set():
            logger.warning("%s again: what runs is stopped now, and run again by the next start", name)
            self._hurry()
            return
        logger.info("%s: no new task is taken, and what runs may end; again to stop it at once", name)
        self.told.set()


async def look_up() -> None:
    """Keep a loop that listens for signals from sleeping for longer than `LOOK_UP_S`."""
    while True:  # noqa: ASYNC110 - the handlers of signals set events, and are not called while the loop sleeps
        await asyncio.sleep(LOOK_UP_S)


async def told(ending: Ending, closed: asyncio.Event) -> None:
    """Wait until it is told to end, or closed by somebody."""
    waits = [asyncio.ensure_future(event.wait()) for event in (ending.told, closed)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def listening(ending: Ending, work: Coroutine[Any, Any, None]) -> None:
    """Run what ends when it is told to, and tell it of the signals that come."""
    loop = asyncio.get_running_loop()
    with heard(lambda number: loop.call_soon_threadsafe(ending.tell, number)):
        looking_up = asyncio.ensure_future(look_up())
        try:
            await work
        finally:
            looking_up.cancel()


@contextmanager
def heard(tell: Callable[[int], object]) -> Generator[None]:
    """Within, the signals call `tell`; what heard them before is put back behind it.

    In threads beside the main one Python hears no signals, and nothing is done: closing the engine ends it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: Any) -> None:
        tell(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: set by somebody who is not Python, which cannot put it back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
