"""Says in the log when a run has come half the way to one of its limits: there is still time to do something.

At the limit itself the run is ended or its command refused, and whoever reads the log then is late.
A run is looked at once in so many events; what was said of it is not said again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator

from perdure.core.execution import Execution
from perdure.core.limits import Limits
from perdure.engine.feed.news import News

_log = logging.getLogger(__name__)

EVERY_EVENTS = 64
TOLD_MAX = 10_000


class Alarms:
    """Warnings at half of `limits`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()

    def hear(self, news: News) -> None:
        """A commit is durable. Two comparisons, nearly always. Of another node's commits that node's log tells."""
        commit = news.commit
        if commit is None or (execution := commit.execution) is None:
            return
        is_due = execution.next_event_id % EVERY_EVENTS < len(commit.events)
        if is_due or 2 * execution.facts.state_bytes > self._limits.state_bytes:
            for what, value, limit in _measures(execution, self._limits):
                if 2 * value > limit:
                    self._warn(execution, what, value, limit)

    def gap(self) -> None:
        """What was missed was another node's."""

    def _warn(self, execution: Execution, what: str, value: int, limit: int) -> None:
        key = execution.key
        if (key.run_id, what) in self._told:
            return
        self._told[key.run_id, what] = None
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        _log.warning(
            "workflow %r (run %s) has %s %s; its limit is %s",
            key.workflow_id,
            key.run_id,
            f"{value:,}",
            what,
            f"{limit:,}",
        )


def _measures(execution: Execution, limits: Limits) -> Iterator[tuple[str, int, int]]:
    """What there is, how much of it, and the limit."""
    yield "events in its history", execution.next_event_id - 1, limits.history_events
    yield "bytes of history", execution.history_bytes, limits.history_bytes
    yield "bytes of state", execution.facts.state_bytes, limits.state_bytes
    yield "pending activities", len(execution.activities), limits.pending_activities
    yield "pending timers", len(execution.timers), limits.pending_timers
    yield "pending children", len(execution.children), limits.pending_children
    yield "pending requests to other workflows", len(execution.externals), limits.pending_externals
    yield "events that wait for its workflow task", len(execution.facts.buffered), limits.buffered_events
