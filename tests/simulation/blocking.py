"""A real store on a loop of virtual time: each call blocks that loop until it is done.

A store with threads of its own answers when it likes; here the answer is always there at once, by
the virtual clock, so that a run on a real database file is as reproducible as one in memory.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from perdure.stores.api import Store


class BlockingStore:
    """Serves `make()`'s store, which lives on a loop and in a thread of its own.

    It offers every method of `Store`; each runs to its end while the caller's loop stands still.
    """

    def __init__(self, make: Callable[[], Store]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="blocking-store", daemon=True)
        self._thread.start()
        self._inner = self._run(self._made(make))

    async def _made(self, make: Callable[[], Store]) -> Store:
        return make()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def answer(*args: Any, **kwargs: Any) -> Any:
            return self._run(method(*args, **kwargs))

        return answer

    def end(self) -> None:
        """Close the store and end its thread."""
        self._run(self._inner.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
