"""What the law is told about the outside: the time, fresh ids, whose worker is gone, what names mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from perdure.core.limits import Limits
from perdure.core.schedule.calendars import Zone, utc
from perdure.core.schedule.fields import BadSpec


class Poller(Protocol):
    """A waiting poll, which the shell has set aside for a task of a commit."""

    @property
    def identity(self) -> str: ...

    @property
    def home(self) -> str:
        """The id of the node in whose process the worker is, and dies; or of the worker itself, if it is in another
        process whose life can be told (`api.presence`); empty: nothing can be told of it."""
        ...


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
    limits: Limits | None = None
    """None: `perdure.core.limits.DEFAULT_LIMITS`."""
    find_zone: Callable[[str], Zone] = _utc_alone
    """The time zone of a name, for cron schedules. Raises `perdure.core.schedule.fields.BadSpec`."""
    attribute_type: Callable[[str, str, int], int] | None = None
    """Of a namespace, a search attribute's name and the type that its value says it has (0: none): the type that the
    attribute is registered with, 0 when it is not. None: everything may be set."""
    dead_queue: str = ""
    """The sticky queue of the execution, if the worker behind it is not there any more (it has not polled lately). The
    next workflow task then goes to the normal queue at once, instead of after its schedule-to-start time-out."""
