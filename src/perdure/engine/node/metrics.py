"""What the engine counts: plain integers, cheap enough for every commit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Metrics:
    """Totals since the engine started, unless said otherwise."""

    decisions: int = 0
    decision_errors: int = 0
    """Exceptions out of core: each one is a bug."""
    commits: int = 0
    """Applied ones."""
    early: int = 0
    """Workflow tasks that went out before they were durable, to be so together with their answers."""
    batches: int = 0
    """Store transactions."""
    record_batches: int = 0
    """Store transactions of records: schedules, batch operations."""
    conflicts: int = 0
    store_errors: int = 0
    loads: int = 0
    """Executions read from the store: misses of the cache."""
    evictions: int = 0
    cached: int = 0
    """Executions at rest in memory now."""
    cached_bytes: int = 0
    """Their estimated size now."""
    waiting_calls: int = 0
    """Commands and reads not yet answered, now."""
    sync_matches: int = 0
    """Tasks that found a waiting poller while they were decided."""
    row_starts: int = 0
    """Tasks that went through the durable queue."""
    stale_rows: int = 0
    orphans: int = 0
    """Started tasks whose poller had gone away before delivery."""
    message_retries: int = 0
    """Deliveries between workflows that are to be tried again."""
    parked_messages: int = 0
    """Messages between workflows that this engine does not try to deliver any more: each is a bug."""
    parked_records: int = 0
    """Schedules and batch operations that could not be carried out, and are left alone until somebody changes them."""
    clock_jumps: int = 0
    """How often the machine's wall clock was set."""
    nodes: int = 1
    """Those that live, this one among them, as far as it knows, now."""
    partitions: int = 0
    """Those that this node looks after now."""
    questions_elsewhere: int = 0
    """Queries that were put to workers of another node."""
    room_asked: int = 0
    """How often other nodes were asked for room, because races for a workflow were lost again and again."""
    notices_sent: int = 0
    """To the other nodes of a fleet."""
    notice_gaps: int = 0
    """How often notices of other nodes were found to be missing: each time everything is looked at again."""
    wakes: int = 0
    pruned: int = 0
    """Executions deleted because their namespace keeps them no longer."""
