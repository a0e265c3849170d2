"""A commit as bytes: what every backend stores, made in one place.

Encoding happens on the event loop, before anything is awaited or queued: after that a store holds
nothing that the engine may still change, and a commit that cannot be encoded fails before the
first effect. All memory of a commit waiting for its transaction is what is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from perdure.api.history import encode_batch
from perdure.core.commit import Commit, ExecutionKey, Task, TaskRef
from perdure.core.execution import encode
from perdure.core.message import encode_message
from perdure.stores.api import Summary

Row = TypeVar("Row", Task, TaskRef)


@dataclass(slots=True)
class EncodedCommit:
    """One run's part of a commit, ready to be written. Times in nanoseconds since the epoch."""

    key: ExecutionKey
    expected_version: int
    expected_current_run_id: str | None
    version: int
    snapshot: bytes
    workflow_type: str
    task_queue: str
    status: int
    started_at_ns: int
    closed_at_ns: int | None
    history_length: int
    wake_at_ns: int | None
    in_flight: bool
    first_event_id: int
    batch: bytes
    """The new events as one serialised `History`; empty when the commit has none."""
    add_tasks: Sequence[Task]
    remove_tasks: Sequence[TaskRef]
    messages: Sequence[tuple[str, bytes]]
    """Rows of the outbox: id and encoded message."""
    remove_messages: Sequence[str]

    @property
    def is_open(self) -> bool:
        return self.closed_at_ns is None

    def summary(self) -> Summary:
        return Summary(
            key=self.key,
            workflow_type=self.workflow_type,
            task_queue=self.task_queue,
            status=self.status,
            started_at_ns=self.started_at_ns,
            closed_at_ns=self.closed_at_ns,
            history_length=self.history_length,
        )


def encode_commit(commit: Commit) -> EncodedCommit:
    """One run's part, without its `next_run`.

    Raises ValueError when there is nothing to store, or a task is another execution's: such a
    commit never belongs in a store.
    """
    execution = commit.execution
    if execution is None or not commit.changed:
        raise ValueError(f"a commit that changes nothing was handed to the store: {commit.key}")
    events = commit.events
    return EncodedCommit(
        commit.key,
        commit.expected_version,
        commit.expected_current_run_id,
        execution.version,
        encode(execution),
        execution.workflow_type,
        execution.task_queue,
        execution.status,
        execution.started_at_ns,
        execution.closed_at_ns,
        execution.next_event_id - 1,
        commit.wake_at_ns,
        execution.in_flight,
        events[0].event_id if events else 0,
        encode_batch(events) if events else b"",
        _own(commit.key, commit.add_tasks) if commit.add_tasks else (),
        _own(commit.key, commit.remove_tasks) if commit.remove_tasks else (),
        [(message.id, encode_message(message)) for message in commit.messages] if commit.messages else (),
        tuple(commit.remove_messages) if commit.remove_messages else (),
    )


def _own(key: ExecutionKey, rows: Sequence[Row]) -> Sequence[Row]:
    """A copy of the rows. Raises ValueError when one is another execution's."""
    for row in rows:
        if row.key != key:
            raise ValueError(f"a commit of {key} was handed to the store with a task of {row.key}")
    return tuple(rows)


def encode_chain(commit: Commit) -> Sequence[EncodedCommit]:
    """The commit and the runs that start in the same transaction, in the order they are applied."""
    links = [encode_commit(commit)]
    following = commit.next_run
    while following is not None:
        links.append(encode_commit(following))
        following = following.next_run
    return links
