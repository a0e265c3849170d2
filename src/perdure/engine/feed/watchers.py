"""Long polls on history: callers that wait for new events of a run, or for its end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator

from perdure.api.errors import Rejected, StatusCode
from perdure.engine.feed.feed import Feed
from perdure.engine.feed.news import News
from perdure.engine.node.config import EngineConfig


class Watchers:
    """A wait is registered while the run's state is being looked at, so that no commit slips between."""

    def __init__(self, config: EngineConfig, feed: Feed) -> None:
        self._feed = feed
        self._max = config.watchers_max
        self._wait_s = config.shared_refresh_ns / 1e9 if config.store_is_shared else math.inf
        self._by_run: dict[str, list[tuple[asyncio.Future[bool], bool]]] = {}
        self._count = 0
        self._is_open = False

    async def start(self) -> None:
        """Accept waits."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True

    async def stop(self) -> None:
        """End every wait now, with nothing."""
        self._is_open = False
        for future, _ in self._waits():
            if not future.done():
                future.set_result(False)

    def _waits(self) -> Iterator[tuple[asyncio.Future[bool], bool]]:
        return (wait for waits in self._by_run.values() for wait in waits)

    def add(self, run_id: str, for_close: bool, wait_s: float) -> asyncio.Future[bool]:
        """A future that is True at the run's next events (`for_close`: its end), False when the wait is over.

        The wait ends after `wait_s`, or sooner on a shared store: its changes may come from elsewhere.
        Raises Rejected UNAVAILABLE, RESOURCE_EXHAUSTED.
        """
        if not self._is_open:
            raise Rejected(StatusCode.UNAVAILABLE, "The engine is stopped or stopping: connect again and ask again.")
        if self._count >= self._max:
            raise Rejected(StatusCode.RESOURCE_EXHAUSTED, "Too many requests wait for workflows: try again later.")
        future: asyncio.Future[bool] = self._loop.create_future()
        self._count += 1
        if run_id not in self._by_run:
            self._by_run[run_id] = []
            self._feed.follow(run_id, self)
        self._by_run[run_id].append((future, for_close))
        timer = self._loop.call_later(min(wait_s, self._wait_s), _give_up, future)

        def ended(_: asyncio.Future[bool]) -> None:
            timer.cancel()
            self._count -= 1
            self._forget(run_id)

        future.add_done_callback(ended)
        return future

    def _forget(self, run_id: str) -> None:
        waits = self._by_run.get(run_id)
        if waits is not None:
            waits[:] = [wait for wait in waits if not wait[0].done()]
            if not waits:
                del self._by_run[run_id]
                self._feed.unfollow(run_id, self)

    def hear(self, news: News) -> None:
        """A run that somebody waits for has gone on."""
        if news.first_event_id == news.next_event_id:
            return
        for future, for_close in self._by_run[news.key.run_id]:
            if (news.is_closed or not for_close) and not future.done():
                future.set_result(True)

    def gap(self) -> None:
        """Any of the runs may have gone on: everybody looks again, and waits for the rest of the time."""
        for future, _ in self._waits():
            if not future.done():
                future.set_result(True)


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
