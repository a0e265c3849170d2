"""A commit as bytes: what every backend stores, made in one place.

Encoding happens on the event loop, before anything is awaited or queued: after that a store holds
nothing that the engine may still change, and a commit that cannot be encoded fails before the
first effect. All memory of a commit waiting for its transaction is what is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from perdure.api.history import encode_batch
from perdure.core.commit import Commit, ExecutionKey, Task, TaskRef
from perdure.core.execution import Execution, encode
from perdure.core.message import encode_message
from perdure.core.search_attributes import Row as IndexRow
from perdure.stores.api import Namespace, Summary
from perdure.stores.visibility.evaluation import uncommon_rows

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
    history_bytes: int
    index_rows: Sequence[IndexRow] | None
    """What the run can be found by beside the fields above, if this commit changes it. None: it does not."""

    parts: Sequence[tuple[int, bytes]] = ()
    """What is kept beside the snapshot and changes, by event; empty bytes: it goes."""

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
        encode_batch(commit.encoded) if events else b"",
        _own(commit.key, commit.add_tasks) if commit.add_tasks else (),
        _own(commit.key, commit.remove_tasks) if commit.remove_tasks else (),
        [(message.id, encode_message(message)) for message in commit.messages] if commit.messages else (),
        tuple(commit.remove_messages) if commit.remove_messages else (),
        execution.history_bytes,
        _index_rows(commit, execution),
        tuple(commit.parts.items()) if commit.parts else (),
    )


def _index_rows(commit: Commit, execution: Execution) -> Sequence[IndexRow] | None:
    if commit.expected_version:
        return uncommon_rows(execution) if commit.index_changed else None
    return uncommon_rows(execution) or None


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


def encode_namespace(namespace: Namespace) -> tuple[Any, ...]:
    """Name, id, retention, description, and the rest as bytes."""
    details = (namespace.state, namespace.owner_email, dict(namespace.data), dict(namespace.search_attributes))
    return (namespace.name, namespace.id, namespace.retention_ns, namespace.description, _encode_details(details))


def decode_namespace(name: str, id: str, retention_ns: int, description: str, details: bytes) -> Namespace:
    """What `encode_namespace` was given."""
    if not details:  # written before there were any
        return Namespace(name, id, retention_ns, description)
    state, owner_email, data, search_attributes = _decode_details(details)
    return Namespace(name, id, retention_ns, description, owner_email, state, data, search_attributes)


_encode_details = msgspec.msgpack.Encoder().encode
_decode_details = msgspec.msgpack.Decoder(tuple[int, str, dict[str, str], dict[str, int]]).decode
