"""Who works: the newest heartbeat of every worker that sends them.

Kept in memory alone, as Temporal's server does: after a restart the workers say it again within a
minute. It is what operators look at; nothing is decided by it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from temporalio.api.worker.v1 import WorkerHeartbeat

from perdure.engine.node.clock import Clock
from perdure.engine.node.config import EngineConfig


class Workers:
    """Heartbeats by namespace and worker instance key; as many as `workers_max` and `workers_bytes_max` allow, the
    longest silent go first."""

    def __init__(self, clock: Clock, config: EngineConfig) -> None:
        self._clock = clock
        self._max = config.workers_max
        self._silence_ns = config.worker_silence_ns
        self._bytes_max = config.workers_bytes_max
        self._bytes = 0
        self._beats: OrderedDict[tuple[str, str], tuple[WorkerHeartbeat, int, int]] = OrderedDict()
        """The heartbeat, when it came, and its size."""

    def beat(self, namespace: str, heartbeat: WorkerHeartbeat) -> None:
        """Remember it in place of the worker's last one."""
        key = namespace, heartbeat.worker_instance_key
        size = heartbeat.ByteSize()
        self._drop(key)
        self._beats[key] = heartbeat, self._clock.now_ns(), size
        self._bytes += size
        while len(self._beats) > self._max or self._bytes > self._bytes_max:
            self._drop(next(iter(self._beats)))

    def _drop(self, key: tuple[str, str]) -> None:
        known = self._beats.pop(key, None)
        if known is not None:
            self._bytes -= known[2]

    def get(self, namespace: str, worker_instance_key: str) -> WorkerHeartbeat | None:
        """The newest one of a worker, None if none is known."""
        self._forget()
        found = self._beats.get((namespace, worker_instance_key))
        return found[0] if found is not None else None

    def all(self, namespace: str) -> Iterator[WorkerHeartbeat]:
        """Of a namespace, by instance key."""
        self._forget()
        known = [(key, beat) for (where, key), (beat, *_) in self._beats.items() if where == namespace]
        return (beat for _, beat in sorted(known, key=lambda pair: pair[0]))

    def _forget(self) -> None:
        """Drop those who have been silent for too long: they come first."""
        horizon_ns = self._clock.now_ns() - self._silence_ns
        while self._beats:
            key, (_, seen_at_ns, _) = next(iter(self._beats.items()))
            if seen_at_ns > horizon_ns:
                return
            self._drop(key)
