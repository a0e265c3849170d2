"""Long polls on history: callers that wait for new events of a run, or for its end."""

from __future__ import annotations

import asyncio
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
        self._waits: dict[tuple[str, bool], list[asyncio.Future[bool]]] = {}
        """By run id, and whether only its end is waited for."""
        self._count = 0
        self._is_open = False

    async def start(self) -> None:
        """Accept waits."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True

    async def stop(self) -> None:
        """End every wait now, with nothing."""
        self._is_open = False
        for future in self._futures():
            if not future.done():
                future.set_result(False)

    def _futures(self) -> Iterator[asyncio.Future[bool]]:
        return (future for futures in list(self._waits.values()) for future in futures)

    def add(self, run_id: str, for_close: bool, wait_s: float) -> asyncio.Future[bool]:
        """A future that is True at the run's next events (`for_close`: its end), False when the wait is over.

        The wait ends after `wait_s`. It may be True without anything new: whoever waits looks again.
        Raises Rejected UNAVAILABLE, RESOURCE_EXHAUSTED.
        """
        if not self._is_open:
            raise Rejected(StatusCode.UNAVAILABLE, "The engine is stopped or stopping: connect again and ask again.")
        if self._count >= self._max:
            raise Rejected(StatusCode.RESOURCE_EXHAUSTED, "Too many requests wait for workflows: try again later.")
        future: asyncio.Future[bool] = self._loop.create_future()
        self._count += 1
        place = (run_id, for_close)
        if place not in self._waits:
            self._waits[place] = []
            self._feed.follow(run_id, self, for_close)
        self._waits[place].append(future)
        timer = self._loop.call_later(wait_s, _give_up, future)

        def ended(_: asyncio.Future[bool]) -> None:
            timer.cancel()
            self._count -= 1
            self._forget(place)

        future.add_done_callback(ended)
        return future

    def _forget(self, place: tuple[str, bool]) -> None:
        futures = self._waits.get(place)
        if futures is not None:
            futures[:] = [future for future in futures if not future.done()]
            if not futures:
                del self._waits[place]
                run_id, for_close = place
                self._feed.unfollow(run_id, self, for_close)

    def hear(self, news: News) -> None:
        """A run that somebody waits for has gone on."""
        if news.first_event_id == news.next_event_id:
            return
        run_id = news.key.run_id
        for future in self._waits.get((run_id, False), ()):
            if not future.done():
                future.set_result(True)
        if news.is_closed:
            for future in self._waits.get((run_id, True), ()):
                if not future.done():
                    future.set_result(True)

    def gap(self) -> None:
        """Any of the runs may have gone on: everybody looks again, and waits for the rest of the time."""
        for future in self._futures():
            if not future.done():
                future.set_result(True)


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
