"""Every bound of a worker, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from perdure.sdk.option_names import lists_options
from perdure.sdk.options import SECOND_NS

MACHINE_BYTES = 24 << 10
"""What a cached run is taken to weigh beside its history: its greenlet or coroutine, and bookkeeping."""


@lists_options
@dataclass(slots=True, frozen=True)
class WorkerConfig:
    """Bounds and time-outs of one worker. Times in nanoseconds.

    A poll is made only while a slot is free, so what exceeds the slots waits in the server's queue
    and not in this process's memory.
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
    fails_repeatedly: bool = True
    """Tell the server of each failed attempt of a workflow task. A far server paces the attempts by their time-out, so
    there only the first is told of, as Temporal's workers do; ours, in one process, paces them by itself."""
    shares_store: bool = False
    """The server is the process that owns the store's file, and this one may come to own it: until then, a worker with
    transactional activities leaves the activities of its queue to the owner."""
    deadlock_ns: int = 2 * SECOND_NS
    """Workflow code that holds its thread longer fails its task. 0: no limit."""
    sticky_schedule_to_start_ns: int = 10 * SECOND_NS
    """After this the server gives a task of a cached run to any worker."""
    heartbeat_default_ns: int = 30 * SECOND_NS
    """Heartbeats of an activity without heartbeat time-out are sent this often at most."""
    heartbeat_maximum_ns: int = 60 * SECOND_NS
    shutdown_grace_ns: int = 5 * SECOND_NS
    """How long `stop` lets running activities go on before it asks them to stop."""
    shutdown_cancel_ns: int = 2 * SECOND_NS
    """How long after that they may clean up before they are left behind."""


@dataclass(slots=True, frozen=True)
class WorkerName:
    """What requests say of who sends them."""

    namespace: str
    task_queue: str
    sticky_queue: str
    identity: str
    instance_key: str
