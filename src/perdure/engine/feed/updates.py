"""Callers that wait for what becomes of an update.

A wait is registered before the update is submitted, so that no commit slips between; it then hears every news
of its update id, of whichever run, and its caller, who knows the run once the update is admitted, picks. Of what
another node has committed it hears no more than that: then its caller looks at the state again. Only of a rejection, of
which the state says nothing, it hears all.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.core.replies import UpdateNews
from perdure.engine.feed.news import News
from perdure.engine.node.config import EngineConfig

_Place = tuple[str, str, str]
"""Namespace, workflow id, update id."""


class UpdateWait:
    """One caller's wait, a context manager: it ends with the block."""

    def __init__(self, updates: Updates, place: _Place) -> None:
        self._updates = updates
        self._place = place
        self._news: dict[str, UpdateNews] = {}
        self._is_behind = False
        self._bell: asyncio.Future[None] | None = None

    def __enter__(self) -> UpdateWait:
        self._updates.add(self._place, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._updates.remove(self._place, self)

    def heard(self, run_id: str) -> UpdateNews | None:
        """The newest news of this run."""
        return self._news.get(run_id)

    def tell(self, run_id: str, news: UpdateNews) -> None:
        """Durable: this is what became of it."""
        self._news[run_id] = news
        self.wake()

    def look_again(self) -> None:
        """Something may have become of it, of which nothing more is known here."""
        self._is_behind = True
        self.wake()

    def must_look(self) -> bool:
        """Whether the caller is to look at the state: once for each time."""
        was_behind, self._is_behind = self._is_behind, False
        return was_behind

    def wake(self) -> None:
        """Let whoever waits look around."""
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def pause(self, seconds: float) -> None:
        """Until there is news, the engine stops, or the time is over."""
        loop = asyncio.get_running_loop()
        bell = self._bell = loop.create_future()
        timer = loop.call_later(seconds, self.wake)
        try:
            await bell
        finally:
            timer.cancel()
            self._bell = None


class Updates:
    """See the module's text."""

    def __init__(self, config: EngineConfig) -> None:
        self._max = config.watchers_max
        self._count = 0
        self._is_open = False
        self.waiting: dict[_Place, list[UpdateWait]] = {}

    def start(self) -> None:
        """Accept waits."""
        self._is_open = True

    def stop(self) -> None:
        """Wake everybody: the engine is not started any more."""
        self._is_open = False
        for waits in list(self.waiting.values()):
            for wait in waits:
                wait.wake()

    def wait(self, namespace: str, workflow_id: str, update_id: str) -> UpdateWait:
        """A wait for news of an update; nothing is heard before it is entered."""
        return UpdateWait(self, (namespace, workflow_id, update_id))

    def add(self, place: _Place, wait: UpdateWait) -> None:
        """Raises Rejected UNAVAILABLE, RESOURCE_EXHAUSTED."""
        if not self._is_open:
            raise Rejected(StatusCode.UNAVAILABLE, "The engine is stopped or stopping: connect again and ask again.")
        if self._count >= self._max:
            raise Rejected(StatusCode.RESOURCE_EXHAUSTED, "Too many requests wait for workflows: try again later.")
        self._count += 1
        self.waiting.setdefault(place, []).append(wait)

    def remove(self, place: _Place, wait: UpdateWait) -> None:
        """A caller hears no more."""
        self._count -= 1
        waits = self.waiting[place]
        waits.remove(wait)
        if not waits:
            del self.waiting[place]

    def hear(self, news: News) -> None:
        """Updates have come further: tell those who wait."""
        if not self.waiting:
            return
        key, commit = news.key, news.commit
        if commit is None:
            for update_id, outcome in news.rejected:
                for wait in self.waiting.get((key.namespace, key.workflow_id, update_id), ()):
                    wait.tell(key.run_id, UpdateNews(update_id, enums.UPDATE_COMPLETED, outcome, is_rejection=True))
            for update_id in news.updates:
                for wait in self.waiting.get((key.namespace, key.workflow_id, update_id), ()):
                    wait.look_again()
            return
        for update in commit.updates:
            for wait in self.waiting.get((key.namespace, key.workflow_id, update.update_id), ()):
                wait.tell(key.run_id, update)

    def gap(self) -> None:
        """Any of them may have come further."""
        for waits in self.waiting.values():
            for wait in waits:
                wait.look_again()
