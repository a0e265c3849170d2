"""What must be durable before anything is visible.

A `Commit` is the whole outcome of deciding one or more commands on one execution. The shell hands
it to a store, which applies it entirely or not at all, and only when it is durable may the shell
deliver `dispatches` and `replies`. The order is the contract (after etcd raft's `Ready`):

1. events, the new state, tasks, messages and the deadline, in one transaction, only if `expected_version`
   is still the stored version (compare-and-set: the only concurrency control there is);
2. then, and only then, dispatches to the pollers that were set aside, and replies to callers.

One dispatch may come before 1: of a workflow task to a worker in this process, whose answer then `follow`s as part of
the same commit, and of which nothing leaves before (ADR 0028).

When the compare-and-set fails the shell drops the cached execution, lets the pollers wait on,
loads it again and decides the same commands once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from temporalio.api.history.v1 import HistoryEvent

from perdure.core.context import Poller
from perdure.core.message import Message as OutboxMessage
from perdure.core.names import ExecutionKey, RecordRef, Task, TaskRef
from perdure.core.replies import UpdateNews
from perdure.core.started import StartedTask
from perdure.core.state import Execution


class Dispatch(msgspec.Struct, frozen=True):
    """A started task for a poller that was set aside; delivered once durable."""

    poller: Poller
    task: StartedTask


class Commit(msgspec.Struct, eq=False):
    """The outcome of one or more commands on one execution, applied entirely or not at all."""

    key: ExecutionKey
    expected_version: int
    """The stored version this was decided on; 0: the run must not exist yet."""
    execution: Execution | None
    """The state after; `execution.version == expected_version + 1`. None: nothing exists and nothing was made."""
    events: list[HistoryEvent] = []
    """Appended to history in this order, as one batch; may be empty (an attempt started, a heartbeat)."""
    encoded: list[bytes] = []
    """The same events, serialised: no event is changed, or serialised again, once it was appended."""
    batches: Sequence[tuple[int, bytes]] = ()
    """Of very many, the same once more, joined as they are stored, each with the id of its first event; none: the
    store joins them."""
    add_tasks: list[Task] = []
    remove_tasks: list[TaskRef] = []
    wake_at_ns: int | None = None
    """The earliest deadline as it is to be stored; None: no wake-up is owed."""
    expected_current_run_id: str | None = None
    """For a commit that starts a run: the run that must be the workflow id's current one, None: no run."""
    next_run: Commit | None = None
    """A run that starts in the same transaction (continue-as-new, cron, terminate-if-running)."""
    dispatches: list[Dispatch] = []
    replies: list[Any] = []
    """One per command decided, in order: a value, or the `Rejected` that it met."""
    updates: list[UpdateNews] = []
    """What became of updates, in order."""
    messages: list[OutboxMessage] = []
    """What other workflows are to be told, durable with the commit and delivered after it."""
    remove_messages: list[str] = []
    """Ids of messages, of this execution or another, that need not be delivered any more."""
    take_records: list[RecordRef] = []
    """Records that go with this commit: one that is not there, at that version, makes it a conflict."""
    parts: dict[int, bytes] = {}
    """What is kept beside the snapshot (`core.apart`) and changes, by event; empty: it goes."""
    index_changed: bool = False
    """What the run can be found by, beside the fields of every run, is not what it was."""
    changed: bool = True
    """False: nothing to store, only replies to deliver."""
    is_plain: bool = False
    """It goes on with one run, and brings events, a state and a deadline, but nothing else that is stored or told of.
    So do nearly all, and nobody need look for more. Said when the commit is closed; False says nothing."""

    def close(self) -> None:
        """Nothing is added any more."""
        self.is_plain = self.expected_version != 0 and not (
            self.add_tasks
            or self.remove_tasks
            or self.messages
            or self.remove_messages
            or self.updates
            or self.parts
            or self.take_records
            or self.index_changed
            or self.next_run is not None
        )

    def follow(self, first: Commit) -> None:
        """Be one with the commit that this one was decided on, of the same run, which was not stored: two steps that
        become durable together, or not at all."""
        execution = self.execution
        assert execution is not None and first.expected_version and first.next_run is None, "one run goes on"
        self.expected_version = first.expected_version
        execution.version -= 1
        self.events = first.events + self.events
        self.encoded = first.encoded + self.encoded
        self.batches = ()
        self.replies = first.replies + self.replies
        self.dispatches = first.dispatches + self.dispatches
        self.add_tasks = first.add_tasks + self.add_tasks
        self.remove_tasks = first.remove_tasks + self.remove_tasks
        self.updates = first.updates + self.updates
        self.messages = first.messages + self.messages
        self.remove_messages = first.remove_messages + self.remove_messages
        self.take_records = first.take_records + self.take_records
        self.parts = {**first.parts, **self.parts}
        self.index_changed = first.index_changed or self.index_changed
        self.close()

    @property
    def starts_run(self) -> bool:
        return self.expected_version == 0
