"""One workflow id as the shell sees it: what waits for it, and what is known of its current run.

A mailbox is at rest, or busy: on the list of those to be decided, loading, or in the one commit
that a workflow id may have in flight. `execution` is changed by `decide` in place and is therefore
ahead of the store while a commit is in flight; `tail` never is: it holds durable events alone.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import msgspec
from temporalio.api.history.v1 import HistoryEvent

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import Command, StartWorkflow
from perdure.core.commit import Commit
from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey
from perdure.engine.deciding.kept import Kept
from perdure.engine.matching.task_queue import Waiting
from perdure.engine.submission import Age, InTransaction, Read


class Call(msgspec.Struct, eq=False):
    """A command or a read that waits for its answer."""

    run_id: str | None
    command: Command | Read | InTransaction
    future: asyncio.Future[Any]


class Mailbox:
    """See the module's text. Attributes that are about one moment say so."""

    __slots__ = (
        "assigned",
        "busy",
        "cached_bytes",
        "calls",
        "commit",
        "conflicts",
        "execution",
        "foreign",
        "gaps",
        "is_fresh",
        "is_known",
        "kept",
        "namespace",
        "pending",
        "shelf",
        "solo",
        "tail",
        "tail_base_bytes",
        "tail_run_id",
        "weighed_bytes",
        "workflow_id",
    )

    def __init__(self, namespace: str, workflow_id: str) -> None:
        self.namespace = namespace
        self.workflow_id = workflow_id
        self.pending: deque[Call] = deque()
        self.busy = False
        self.execution: Execution | None = None
        self.is_known = False
        """Whether `execution` (or None: no run) is what the store held when we last looked."""
        self.is_fresh = False
        """It was read, or proved by a compare-and-set, since the mailbox last rested."""
        self.gaps = 0
        """How often news of other nodes may have been lost before it was read or proved."""
        self.foreign: tuple[str, Execution | None] | None = None
        """A run that is not the current one, loaded because the next call names it."""
        self.calls: list[Call] = []
        """In flight: the calls that the commit answers."""
        self.commit: Commit | None = None
        self.kept: Kept | None = None
        """The commit waits for the answer to its workflow task, or it did and is being written."""
        self.assigned: Sequence[Waiting | None] = ()
        """The pollers that were set aside for tasks of the commit."""
        self.conflicts = 0
        """Lost races in a row."""
        self.solo = 0
        """So many calls are to be decided one by one, because deciding them together raised."""
        self.tail: list[HistoryEvent] = []
        """The newest durable events of `tail_run_id`, without gaps."""
        self.tail_run_id = ""
        self.tail_base_bytes = 0
        """Size of the history before the tail."""
        self.shelf: OrderedDict[Mailbox, None] | None = None
        """The list of the cache that holds this mailbox: when it is at rest, and mostly when it is busy."""
        self.cached_bytes = 0
        self.weighed_bytes = 0
        """Of history and state, when the cache found out how much it is."""

    def learn(self, execution: Execution | None, gaps: int) -> None:
        """Take what the store holds for the current run; the tail begins with its next event."""
        self.gaps = gaps
        self.execution = execution
        self.is_known = self.is_fresh = True
        self.tail = []
        self.tail_run_id = ""
        if execution is not None:
            self.tail_run_id = execution.key.run_id
            self.tail_base_bytes = execution.history_bytes

    def end_kept(self, is_durable: bool) -> None:
        """The commit that was kept back is durable, or never will be."""
        kept, self.kept = self.kept, None
        if kept is not None:
            kept.end(is_durable)

    def is_behind(self, key: ExecutionKey, version: int) -> bool:
        """Whether what is in memory is older than this version of this run, or of another run."""
        execution = self.execution
        return execution is not None and (execution.version < version or execution.key != key)

    def forget(self) -> None:
        """Trust nothing that is in memory."""
        self.execution = None
        self.is_known = self.is_fresh = False
        self.foreign = None
        self.tail = []
        self.tail_run_id = ""

    def forget_if_old(self, run_id: str | None, age: Age, gaps: int) -> None:
        """Trust nothing in memory that will not do for a read, since another node may have gone on from there.

        `gaps`: how often news of the others may have been lost by now.
        """
        execution = self.execution
        is_told = age is Age.TOLD and self.gaps == gaps
        if (
            age is Age.NOW
            or execution is None
            or execution.key.run_id != run_id
            or (execution.closed_at_ns is None and not is_told)
        ):
            self.forget()

    def is_foreign(self, call: Call) -> bool:
        """Whether the call names a run that is not the current one."""
        run_id, execution = call.run_id, self.execution
        return run_id is not None and (execution is None or execution.key.run_id != run_id)

    @property
    def foreign_state(self) -> Execution | None:
        """The run that is not the current one, which was loaded for the call at the head."""
        assert self.foreign is not None
        return self.foreign[1]

    def may_guess(self, head: Call) -> bool:
        """Whether the call at the head starts a run and is decided as if there were none of this workflow id."""
        return isinstance(head.command, StartWorkflow) and head.run_id is None and not self.conflicts

    def settle(self, commit: Commit, events_max: int, bytes_max: int, gaps: int) -> None:
        """The commit is durable: its last run is the current one, and its events are the tail's newest."""
        self.gaps = gaps
        while commit.next_run is not None:
            commit = commit.next_run
        execution = commit.execution
        assert execution is not None, "a commit that was stored has a state"
        self.execution = execution
        self.is_known = self.is_fresh = True
        if execution.key.run_id != self.tail_run_id:
            self.tail_run_id = execution.key.run_id
            self.tail = []
            self.tail_base_bytes = 0
        if execution.closed_at_ns is not None:
            self._keep_the_end(commit.events, execution.history_bytes)
            return
        tail = self.tail
        tail.extend(commit.events)
        if len(tail) > events_max or execution.history_bytes - self.tail_base_bytes > bytes_max:
            self._trim(commit, execution.history_bytes, bytes_max)

    def _keep_the_end(self, events: list[HistoryEvent], history_bytes: int) -> None:
        """Of a closed run the closing event is asked for, by whoever waits for the result; the rest only weighs."""
        self.tail = events[-1:] or self.tail[-1:]
        self.tail_base_bytes = history_bytes - (self.tail[0].ByteSize() if self.tail else 0)

    def _trim(self, commit: Commit, history_bytes: int, bytes_max: int) -> None:
        """Keep the newer half, and at least the newest batch unless it alone is too large."""
        newest, half = len(commit.events), len(self.tail) // 2
        kept = self.tail[-max(newest, half) :]
        # An event that is asked for its size measures itself again, a third of a microsecond each; bytes know theirs.
        size = sum(map(len, commit.encoded)) + sum(event.ByteSize() for event in kept[: len(kept) - newest])
        if size > bytes_max:
            kept, size = [], 0
        self.tail = kept
        self.tail_base_bytes = history_bytes - size

    def recent(self, run_id: str, first_event_id: int, last_event_id: int) -> list[HistoryEvent] | None:
        """The durable events of that range, both ends included, or None when the tail does not hold them all."""
        tail = self.tail
        if self.tail_run_id != run_id or not tail:
            return None
        oldest = tail[0].event_id
        if first_event_id < oldest or last_event_id > oldest + len(tail) - 1:
            return None
        return tail[first_event_id - oldest : last_event_id - oldest + 1]


def too_many(workflow_id: str) -> Rejected:
    """The refusal of a command for which there is no room."""
    return Rejected(
        StatusCode.RESOURCE_EXHAUSTED,
        f"Too many requests wait for workflow {workflow_id!r} or this engine: slow down and try again.",
    )
