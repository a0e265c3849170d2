"""What an engine is told when it is made: bounds that a user sets, and, for tests, other parts in its seams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from perdure.engine.node.clock import Clock
from perdure.engine.node.config import EngineConfig
from perdure.sdk.declare.definitions import Registry
from perdure.sdk.deprecated import deprecated
from perdure.sdk.options import Duration, optional_duration
from perdure.sdk.worker import WorkerConfig
from perdure.sdk.worker.failing import Failed
from perdure.stores.api import Store

E = TypeVar("E")
P = ParamSpec("P")
K = TypeVar("K", bound=type)

DEFAULT_MEMORY_MB = 128
_REPLAYS_NEAR = 8
"""In one process nobody waits for a network: more replays at once are no faster, and whatever else is done stands
behind each of them."""


@dataclass(frozen=True, slots=True)
class EngineSeams:
    """What tests and the simulation put in place of the world. Not part of the public interface: see `seamed`."""

    store: Store | None = None
    """Instead of the one that the URL names."""
    clock: Clock | None = None
    new_id: Callable[[], str] | None = None
    engine_config: EngineConfig | None = None
    worker_config: WorkerConfig | None = None
    inline: bool = False
    """Run workflow code and `def` activities on the event loop itself."""
    instance_key: str | None = None
    registry: Callable[[Registry], Registry] | None = None
    """Stands between the worker and what it would run."""
    on_failure: Callable[[Failed], object] | None = None
    """Told of every attempt of an activity or workflow task that failed."""


def seamed(kind: Callable[P, E], seams: EngineSeams, *args: P.args, **options: P.kwargs) -> E:
    """An engine with other parts in its seams, for tests and for what looks into a store.

    No constructor has such a parameter, for these parts are no user's business.

    Args:
        kind: `Engine` or `AsyncEngine`.
        args, options: of its constructor. Raises as that does.
    """
    cls: Any = kind
    engine: Any = cls.__new__(cls)
    engine._seams = seams
    engine.__init__(*args, **options)
    return engine


def takes_former_seams(kind: K) -> K:
    """A class of engines whose constructor takes `seams=` as in the version before, and says what there is instead."""
    cls: Any = kind
    construct = cls.__init__

    @wraps(construct)
    def constructed(self: Any, *args: Any, **options: Any) -> None:
        if "seams" in options:
            deprecated(f"{kind.__name__}: seams=", f"perdure.embedded.seamed({kind.__name__}, seams, ...)")
            self._seams = options.pop("seams") or EngineSeams()
        construct(self, *args, **options)

    cls.__init__ = constructed
    return kind


_RETENTION_MIN_NS = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the user set, shared out to the parts. Raises ValueError."""

    activities: int
    workflow_tasks: int
    memory_mb: int
    shutdown_grace: Duration | None
    retention: Duration | None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("max_concurrent_activities", self.activities, 1),
            ("max_concurrent_workflow_tasks", self.workflow_tasks, 1),
            ("memory_limit_mb", self.memory_mb, 16),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")

    def engine_config(self, namespace: str, *, workers_died: bool) -> EngineConfig:
        retention_ns = optional_duration(self.retention, "retention")
        if retention_ns is not None and retention_ns < _RETENTION_MIN_NS:
            raise ValueError("retention must be at least an hour")
        return EngineConfig(
            cache_bytes_max=self._cache_bytes(),
            workers_died=workers_died,
            prune_every_ns=600_000_000_000,
            retentions={} if retention_ns is None else {namespace: retention_ns},
            learns_search_attributes=True,
        )

    def worker_config(self, *, near: bool, queues: int = 1) -> WorkerConfig:
        """Of the worker of one of so many task queues."""
        usual = WorkerConfig()
        return WorkerConfig(
            workflow_slots=self.workflow_tasks,
            replay_slots=min(_REPLAYS_NEAR, self.workflow_tasks) if near else usual.replay_slots,
            activity_slots=self.activities,
            # A waiting poll is one future here, and a task that finds one is dispatched without a second commit.
            workflow_polls=self.workflow_tasks if near else usual.workflow_polls,
            activity_polls=self.activities if near else usual.activity_polls,
            cached_bytes=self._cache_bytes() // queues,
            shutdown_grace=usual.shutdown_grace if self.shutdown_grace is None else self.shutdown_grace,
        )

    def _cache_bytes(self) -> int:
        """Half for the engine's states, half for the worker's runs."""
        return (self.memory_mb << 20) // 2
