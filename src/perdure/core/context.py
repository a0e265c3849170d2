"""What the law is told about the outside: the time, fresh ids, who waits for work, what names mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from perdure.core.limits import Limits
from perdure.core.names import QueueName
from perdure.core.schedule.calendars import Zone, utc
from perdure.core.schedule.fields import BadSpec


class Poller(Protocol):
    """A waiting poll that the shell has set aside for this commit."""

    @property
    def identity(self) -> str: ...


def _always(queue: QueueName) -> bool:
    return True


def _utc_alone(name: str) -> Zone:
    if name in ("", "UTC"):
        return utc
    raise BadSpec(f"unknown time zone {name}")


@dataclass(slots=True)
class Context:
    """All that the law is told about the outside."""

    now_ns: int
    """Wall-clock time in nanoseconds since the epoch."""
    new_id: Callable[[], str]
    """A fresh UUID version 7."""
    reserve: Callable[[QueueName], Poller | None]
    """Set a waiting poller of that queue aside for this commit, or None when nobody waits."""
    has_worker: Callable[[QueueName], bool] = _always
    """Whether the worker behind this sticky queue is alive (polled lately). If not, the next workflow
    task goes to the normal queue at once, instead of after its schedule-to-start time-out."""
    limits: Limits | None = None
    """None: `perdure.core.limits.DEFAULT_LIMITS`."""
    find_zone: Callable[[str], Zone] = _utc_alone
    """The time zone of a name, for cron schedules. Raises `perdure.core.schedule.fields.BadSpec`."""
    attribute_type: Callable[[str, str, int], int] | None = None
    """Of a namespace, a search attribute's name and the type that its value says it has (0: none): the type that the
    attribute is registered with, 0 when it is not. None: everything may be set."""
