"""Work done in a thread, or where it is asked for when the system has no thread to give.

An executor queues the work before it starts a thread for it, so work whose thread could not be started may still be
done, much later, by another one. Here it is done once: whoever comes second finds it taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from threading import Lock
from typing import Any, TypeVar, cast

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class Once:
    """Calls `work` the first time, from whatever thread; later calls do nothing and give None."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._free = Lock()

    def __call__(self) -> Any:
        return self._work() if self._free.acquire(blocking=False) else None


def hand_over(executor: Executor | None, work: Callable[[], Result]) -> asyncio.Future[Result]:
    """Have it done in a thread of the executor (None: the event loop's own), or before this returns.

    A store must be closed, and a transaction that was begun must end, threads or none.
    """
    loop, once = asyncio.get_running_loop(), Once(work)
    try:
        return cast("asyncio.Future[Result]", loop.run_in_executor(executor, once))
    except RuntimeError as error:  # the executor raises it when it cannot start a thread
        _log.warning("no thread can be had, the event loop does the work of one: %s", error)
    done: asyncio.Future[Result] = loop.create_future()
    try:
        done.set_result(once())
    except Exception as error:
        done.set_exception(error)
    return done
