"""Every bound of a worker, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from perdure.sdk.deprecated import GONE_OPTIONS, deprecated
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration, count, parse_duration

MACHINE_BYTES = 24 << 10
"""What a cached run is taken to weigh beside its history: its greenlet or coroutine, and bookkeeping."""


def _former(old: str, new: str) -> property:
    """A field of the version before, in nanoseconds."""

    def read(self: WorkerConfig) -> int:
        deprecated(old, new)
        return parse_duration(getattr(self, new), new)

    setattr(read, "__deprecated__", new)
    return property(read)


def _gone(old: str, usual: bool) -> property:
    """A field of the version before that says nothing any more."""
    new = GONE_OPTIONS["WorkerConfig()", old]

    def read(self: WorkerConfig) -> bool:
        deprecated(old, new)
        return usual

    setattr(read, "__deprecated__", new)
    return property(read)


@dataclass(slots=True, frozen=True)
class WorkerTimes:
    """The times of a WorkerConfig, parsed: in nanoseconds."""

    deadlock_ns: int
    sticky_schedule_to_start_ns: int
    heartbeat_default_ns: int
    heartbeat_maximum_ns: int
    shutdown_grace_ns: int
    shutdown_cancel_ns: int


@lists_options
@dataclass(slots=True, frozen=True)
class WorkerConfig:
    """Bounds and time-outs of one worker. Times are Durations: seconds, timedeltas, or texts such as "30s".

    A poll is made only while a slot is free, so what exceeds the slots waits in the server's queue
    and not in this process's memory.

    Raises:
        ValueError: slots or processes are less than one, or a time is no duration.
        TypeError: a bound is no int, a time no Duration.
    """

    workflow_slots: int = 100
    """Workflow tasks in hand at once, of the normal queue and again of the sticky one."""
    activity_slots: int = 100
    """Activity attempts running at once; also the most threads that `def` activities get."""
    local_slots: int = 100
    """Local activities running at once; also the most threads that `def` ones get."""
    workflow_polls: int = 5
    activity_polls: int = 5
    """Polls that wait at once per queue. In one process a waiting poll is nearly free: let it equal the slots."""
    cached_runs: int = 10_000
    cached_bytes: int = 256 << 20
    """Runs kept in memory between workflow tasks; a run beyond either bound is replayed from history."""
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes for `run_in="process"` activities; started when first needed."""
    deadlock_timeout: Duration = "2s"
    """Workflow code that holds its thread longer fails its task. 0: no limit."""
    sticky_queue_schedule_to_start_timeout: Duration = "10s"
    """After this the server gives a task of a cached run to any worker."""
    default_heartbeat_throttle_interval: Duration = "30s"
    """Heartbeats of an activity without heartbeat time-out are sent this often at most."""
    max_heartbeat_throttle_interval: Duration = "60s"
    """And those of one with a longer time-out this often."""
    shutdown_grace: Duration = "5s"
    """How long `stop` lets running activities go on before it asks them to stop."""
    shutdown_cancel_grace: Duration = "2s"
    """How long after that they may clean up before they are left behind."""
    replay_slots: int = 100
    """Of the workflow tasks in hand, those of runs that are replayed, being in no memory: others of that sort wait for
    these; tasks of cached and of new runs do not."""
    _times: WorkerTimes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            count(getattr(self, name), name, least=1)
        times = WorkerTimes(*(parse_duration(getattr(self, name), name) for name in _TIMES))
        object.__setattr__(self, "_times", times)

    if not TYPE_CHECKING:
        fails_repeatedly = _gone("fails_repeatedly", usual=True)
        deadlock_ns = _former("deadlock_ns", "deadlock_timeout")
        heartbeat_default_ns = _former("heartbeat_default_ns", "default_heartbeat_throttle_interval")
        heartbeat_maximum_ns = _former("heartbeat_maximum_ns", "max_heartbeat_throttle_interval")
        shutdown_cancel_ns = _former("shutdown_cancel_ns", "shutdown_cancel_grace")
        shutdown_grace_ns = _former("shutdown_grace_ns", "shutdown_grace")
        sticky_schedule_to_start_ns = _former("sticky_schedule_to_start_ns", "sticky_queue_schedule_to_start_timeout")


_AT_LEAST_ONE: Final = (
    "workflow_slots",
    "replay_slots",
    "activity_slots",
    "local_slots",
    "processes",
)
"""With none of one of them a worker would wait for ever. Polls may be none: a worker of activities alone has such."""

_TIMES: Final = (
    "deadlock_timeout",
    "sticky_queue_schedule_to_start_timeout",
    "default_heartbeat_throttle_interval",
    "max_heartbeat_throttle_interval",
    "shutdown_grace",
    "shutdown_cancel_grace",
)


def times_of(config: WorkerConfig) -> WorkerTimes:
    """The times of a worker as it counts them."""
    return config._times  # pyright: ignore[reportPrivateUsage] - no user's business


@dataclass(slots=True, frozen=True)
class Footing:
    """How a worker stands to its server: whoever makes it knows, and it is no user's to say."""

    fails_repeatedly: bool = True
    """Tell the server of each failed attempt of a workflow task. A far server paces the attempts by their time-out, so
    there only the first is told of, as Temporal's workers do; ours, in one process, paces them by itself."""
    shares_store: bool = False
    """The server is the process that owns the store's file, and this one may come to own it: until then, a worker with
    transactional activities leaves the activities of its queue to the owner."""


@dataclass(slots=True, frozen=True)
class WorkerName:
    """What requests say of who sends them."""

    namespace: str
    task_queue: str
    sticky_queue: str
    identity: str
    instance_key: str
