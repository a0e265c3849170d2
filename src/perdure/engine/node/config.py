"""Every bound and setting of the engine, in one place.

Whatever can grow has a bound here; whoever meets it is told RESOURCE_EXHAUSTED, never left to wait
on a queue without end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perdure.core.limits import DEFAULT_LIMITS, Limits

_SECOND_NS = 1_000_000_000


@dataclass(slots=True, frozen=True)
class NodeConfig:
    """One node of a fleet: several engines that have one store. Times in nanoseconds."""

    name: str = ""
    """What it is called in logs, beside an id of its own that it has anew with every start; empty: host and process."""
    beat_ns: int = _SECOND_NS
    """How often it says that it lives."""
    silence_ns: int = 3 * _SECOND_NS
    """A node that did not beat for so long is taken for dead, and the others do what it was to do: two beats later at
    most. Three beats at least."""
    skew_max_ns: int = 2 * _SECOND_NS
    """A node whose clock differs by more from those of the others does not start. Two beats at least."""
    look_every_ns: int = 5 * _SECOND_NS
    """How long a row, a deadline or a message of another node may go unnoticed that nobody told of, and nobody knows to
    be missing: a lost notice is found by the second beat after it."""

    def __post_init__(self) -> None:
        """Raises ValueError when one late beat would be taken for a death, or for a wrong clock."""
        if not 0 < self.beat_ns <= min(self.silence_ns // 3, self.skew_max_ns // 2):
            raise ValueError(
                f"NodeConfig(beat_ns={self.beat_ns}, silence_ns={self.silence_ns}, skew_max_ns={self.skew_max_ns}): "
                "a silence must last three beats at least, and a clock may differ by two."
            )


@dataclass(slots=True, frozen=True)
class EngineConfig:
    """Times in nanoseconds, sizes in bytes, counts without a unit."""

    # --- memory -------------------------------------------------------------------------------
    cache_bytes_max: int = 128 << 20
    """The one memory setting: executions at rest are kept up to this, by estimate; sleeping ones go first."""
    closed_max: int = 500
    """Of those, closed ones."""
    tail_events_max: int = 256
    """Newest events kept beside a cached execution, so that dispatching a task reads no store."""
    tail_bytes_max: int = 512 << 10
    decoded_bytes_max: int = 16 << 20
    """Decoded history batches kept for activities whose scheduled event left the tail."""

    # --- the law ------------------------------------------------------------------------------
    limits: Limits = DEFAULT_LIMITS
    """What core and the edge hold requests and runs to."""

    # --- mailboxes ----------------------------------------------------------------------------
    calls_per_mailbox_max: int = 20_000
    calls_max: int = 500_000
    """Commands and reads that wait, over all mailboxes."""
    decide_calls_max: int = 500
    """Commands that one commit may fold."""
    turn_mailboxes_max: int = 128
    """Mailboxes decided in one go before other callbacks of the event loop get their turn."""
    conflict_tries_max: int = 20
    load_batch_max: int = 500
    commit_batch_max: int = 500
    kept_ns: int = _SECOND_NS // 20
    """How long a commit waits at most for the answer of a worker in this process to the workflow task that it brings,
    to be written with it; 0: it does not, and no task goes out before it is durable. Who is answered by it (an
    activity, a signal) waits as long."""

    # --- matching -----------------------------------------------------------------------------
    long_poll_ns: int = 58 * _SECOND_NS
    """How long a worker's poll waits for a task (clients give up after 70 s)."""
    pollers_per_queue_max: int = 20_000
    backlog_rows_max: int = 5_000
    """Task rows of a polled queue kept in memory, of first workflow tasks and of all others each; the store holds the
    rest."""
    backlog_page: int = 1_000
    orphans_per_queue_max: int = 1_000
    """Started tasks whose poller went away, kept for the next poller; beyond, their time-out finds them."""
    polled_ns: int = 10 * _SECOND_NS
    """A sticky queue that nobody polled for so long is taken for dead (Temporal's server: 10 s)."""
    unpolled_ns: int = 5 * _SECOND_NS
    """A task that waits for so long on a queue which nobody polls is told of in the log; 0: never."""
    store_retry_ns: int = _SECOND_NS
    """Pause before the engine itself tries again what the store refused."""
    retry_max_ns: int = 600 * _SECOND_NS
    """The longest such pause, of one thing that fails again and again by itself; the first is doubled up to here."""

    workers_max: int = 20_000
    """Workers whose last heartbeat is kept."""
    workers_bytes_max: int = 16 << 20
    worker_silence_ns: int = 600 * _SECOND_NS
    """A worker that said nothing for so long is forgotten (they beat once a minute)."""

    # --- messages between workflows -----------------------------------------------------------
    outbox_messages_max: int = 20_000
    """On their way; the store holds the rest."""
    outbox_page: int = 1_000
    outbox_retry_ns: int = _SECOND_NS // 20
    """First pause before a delivery that the target could not take is tried again; doubled each time."""
    outbox_retry_max_ns: int = 60 * _SECOND_NS
    outbox_faults_max: int = 16
    """A delivery that fails by a fault of the engine so often (some six minutes) is left to its next start."""

    # --- wake-ups, recovery -------------------------------------------------------------------
    wake_page: int = 1_000
    """Due executions handled at a time."""
    wake_patience_ns: int = 2 * _SECOND_NS
    """What a page loses at most by waiting for workers, in slices, while those of the slice before wait for somebody on
    a queue that is polled here. Else a hundred thousand that are due at once would stand before whatever is done
    meanwhile."""
    wake_stuck_max: int = 10_000
    """Executions that fail to wake before a pass gives up until the next one."""
    wake_recheck_ns: int = 60 * _SECOND_NS
    """The waker's longest sleep: bounds what a jump of the wall clock can cost."""
    record_page: int = 200
    """Due records handled at a time."""
    record_retry_max_ns: int = 60 * _SECOND_NS
    """The longest pause before a record that fails is tried again."""
    record_faults_max: int = 5
    """A record that fails so often in a row (half a minute) by what does not pass by itself is parked."""
    batches_max: int = 10
    """Batch operations that may run in a namespace at a time."""
    batch_rate: float = 1_000.0
    """Executions a second of a batch that does not say its rate."""
    recovery_page: int = 1_000
    workers_died: bool = False
    """At start, take back every task that a worker held (an embedded engine: its workers were this process)."""

    # --- history ------------------------------------------------------------------------------
    history_page_bytes: int = 4 << 20
    history_page_events: int = 4_000
    """About: small events are many in a page of bytes, and each is an object while the page is made."""
    history_wait_ns: int = 20 * _SECOND_NS
    """How long a reader of history waits for what comes, before it is told to ask again."""
    watchers_max: int = 200_000

    # --- updates ------------------------------------------------------------------------------
    update_wait_ns: int = 20 * _SECOND_NS
    """How long an update's caller waits before it is told how far the update has come."""

    # --- namespaces ---------------------------------------------------------------------------
    default_retention_ns: int = 30 * 24 * 3600 * _SECOND_NS
    """Of the namespace `default`, which is made at a store's first start: how long closed executions are kept."""
    retentions: Mapping[str, int] = field(default_factory=dict[str, int])
    """What namespaces are told at every start about how long they keep closed executions, in nanoseconds."""
    learns_search_attributes: bool = False
    """A search attribute that nobody registered is registered when it is set, with the type that its value says."""
    prune_every_ns: int = 0
    """How often closed executions whose namespace keeps them no longer are looked for; 0: they stay for ever."""
    prune_page: int = 100
    """So many are deleted in one transaction."""

    # --- fleet --------------------------------------------------------------------------------
    node: NodeConfig | None = None
    """This engine is one of several on its store: a cached state is then no proof of what is stored now.
    None: no other engine writes there; on a store that is shared by its nature (PostgreSQL) the defaults hold then."""

    # --- life cycle ---------------------------------------------------------------------------
    has_duties: bool = True
    """False: only what is asked for is done. Nothing is woken, delivered, carried out or pruned by itself, and
    nothing is written at the start: the engine of an operator's one command, which leaves the work to the next one."""
    stop_grace_ns: int = 10 * _SECOND_NS
    """How long `stop` waits for commits that are under way."""
