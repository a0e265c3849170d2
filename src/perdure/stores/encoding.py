"""A commit as bytes: what every backend stores, made in one place.

Encoding happens on the event loop, before anything is awaited or queued: after that a store holds
nothing that the engine may still change, and a commit that cannot be encoded is set apart before the
first effect. All memory of a commit waiting for its transaction is what is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from perdure.api.history import encode_batch
from perdure.core.commit import Commit
from perdure.core.execution import Execution, encode
from perdure.core.message import Message, encode_message
from perdure.core.names import ExecutionKey, RecordRef, Task, TaskRef
from perdure.core.search_attributes import Row as IndexRow
from perdure.core.steps import Steps, finish
from perdure.stores.api import Batch, Namespace, Outcome, RecordChange, Unstorable
from perdure.stores.visibility.evaluation import uncommon_rows

Row = TypeVar("Row", Task, TaskRef)
Written = Outcome | Unstorable
"""What became of one of many that were to be written together."""

INTEGER_MAX = (1 << 63) - 1
"""The largest number that a column holds."""
_INTEGERS = range(-INTEGER_MAX, INTEGER_MAX + 1)
_VALUE_ERRORS = (OverflowError, UnicodeError, RecursionError)
"""What an encoder raises for a value that cannot be stored: a number, a text, a nesting."""


class EncodedCommit(msgspec.Struct, eq=False):
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
    batches: Sequence[Batch]
    """The new events; one batch, but of very many or large ones several, so that each is read in a moment."""
    history_bytes: int
    is_plain: bool
    """There is nothing below."""
    add_tasks: Sequence[Task] = ()
    remove_tasks: Sequence[TaskRef] = ()
    messages: Sequence[tuple[str, bytes, str, str]] = ()
    """Rows of the outbox: id, encoded message, namespace and workflow id that it is for."""
    remove_messages: Sequence[str] = ()
    index_rows: Sequence[IndexRow] | None = None
    """What the run can be found by beside the fields above, if this commit changes it. None: it does not."""
    parts: Sequence[tuple[int, bytes]] = ()
    """What is kept beside the snapshot and changes, by event; empty bytes: it goes."""
    take_records: Sequence[RecordRef] = ()
    """They must be there, and go."""

    @property
    def is_open(self) -> bool:
        return self.closed_at_ns is None


Chain = Sequence[EncodedCommit]
"""A commit and the runs that start in the same transaction."""


def encode_commit(commit: Commit) -> EncodedCommit:
    """One run's part, without its `next_run`.

    Raises ValueError when there is nothing to store, or a task is another execution's: such a
    commit never belongs in a store. Raises OverflowError, UnicodeError for values that no store can hold.
    """
    execution = commit.execution
    if execution is None or not commit.changed:
        raise ValueError(f"a commit that changes nothing was handed to the store: {commit.key}")
    wake_at_ns = commit.wake_at_ns
    if wake_at_ns is not None and wake_at_ns not in _INTEGERS:
        _check_integer("wake_at_ns", wake_at_ns)
    encoded = EncodedCommit(
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
        wake_at_ns,
        execution.in_flight,
        _batches(commit) if commit.events else (),
        execution.history_bytes,
        commit.is_plain,
    )
    if not commit.is_plain:
        _encode_rest(encoded, commit, execution)
    return encoded


def _encode_rest(encoded: EncodedCommit, commit: Commit, execution: Execution) -> None:
    if commit.add_tasks:
        encoded.add_tasks = _own(commit.key, commit.add_tasks)
    if commit.remove_tasks:
        encoded.remove_tasks = _own(commit.key, commit.remove_tasks)
    if commit.messages:
        encoded.messages = [_message_row(message) for message in commit.messages]
    encoded.remove_messages = tuple(commit.remove_messages)
    if commit.index_changed or not commit.expected_version:
        encoded.index_rows = _index_rows(commit, execution)
    encoded.parts = tuple(commit.parts.items())
    encoded.take_records = tuple(commit.take_records)


def _message_row(message: Message) -> tuple[str, bytes, str, str]:
    return message.id, encode_message(message), message.namespace, message.workflow_id


_BATCH_EVENTS_MAX = 1_000
_BATCH_BYTES_MAX = 512 << 10


def _batches(commit: Commit) -> Sequence[Batch]:
    if commit.batches:
        return [Batch(first_event_id, data) for first_event_id, data in commit.batches]
    encoded = commit.encoded
    if len(encoded) <= _BATCH_EVENTS_MAX:
        data = encode_batch(encoded)
        if len(data) <= _BATCH_BYTES_MAX:
            return (Batch(commit.events[0].event_id, data),)
    return [Batch(first_event_id, data) for first_event_id, data in finish(_join(commit))]


def join_in_steps(commit: Commit) -> Steps[None]:
    """Do beforehand what takes long when a commit of very many events is encoded, and those behind it."""
    link: Commit | None = commit
    while link is not None:
        if link.events:
            link.batches = yield from _join(link)
        link = link.next_run


def _join(commit: Commit) -> Steps[Sequence[tuple[int, bytes]]]:
    first_event_id, encoded = commit.events[0].event_id, commit.encoded
    batches: list[tuple[int, bytes]] = []
    begin = size = 0
    for place, event in enumerate(encoded):
        if place > begin and (place - begin == _BATCH_EVENTS_MAX or size + len(event) > _BATCH_BYTES_MAX):
            batches.append((first_event_id + begin, encode_batch(encoded[begin:place])))
            begin, size = place, 0
            yield
        size += len(event)
    batches.append((first_event_id + begin, encode_batch(encoded[begin:])))
    return batches


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


def _check_integer(name: str, value: int) -> None:
    """Raises OverflowError for a number that no column holds."""
    if value not in _INTEGERS:
        raise OverflowError(f"{name} is {value}, beyond 64 bits")


def encode_chain(commit: Commit) -> Chain:
    """The commit and the runs that start in the same transaction, in the order they are applied.

    Raises as `encode_commit`.
    """
    links = [encode_commit(commit)]
    following = commit.next_run
    while following is not None:
        links.append(encode_commit(following))
        following = following.next_run
    return links


def encode_or_refuse(commit: Commit) -> Chain | Unstorable:
    """The chain of a commit, or why it cannot be encoded."""
    try:
        return encode_chain(commit)
    except Exception as error:
        return unstorable(error, f"a commit of workflow {commit.key.workflow_id!r}")


def encode_chains(commits: Sequence[Commit]) -> tuple[list[Chain], Mapping[int, Unstorable]]:
    """The chains of a batch that can be encoded, and of the others, by their places in it, why they cannot."""
    try:
        return [encode_chain(commit) for commit in commits], {}
    except Exception:  # one of them; each is asked below
        chains: list[Chain] = []
        apart: dict[int, Unstorable] = {}
    for place, commit in enumerate(commits):
        encoded = encode_or_refuse(commit)
        if isinstance(encoded, Unstorable):
            apart[place] = encoded
        else:
            chains.append(encoded)
    return chains, apart


def put_back(outcomes: Sequence[Written], apart: Mapping[int, Unstorable]) -> list[Written]:
    """The outcomes of a whole batch: of those that were written, and in their places those that were set apart."""
    whole = list(outcomes)
    for place in sorted(apart):
        whole.insert(place, apart[place])
    return whole


def check_change(change: RecordChange) -> None:
    """Raises OverflowError, UnicodeError for a change of a record that no store can hold."""
    if change.wake_at_ns is not None:
        _check_integer("wake_at_ns", change.wake_at_ns)
    for name in (change.kind, change.namespace, change.name):
        name.encode()


def unstorable(error: Exception, what: str) -> Unstorable:
    """The one of a batch that is to blame for an error; `what` names it in the message."""
    is_value = isinstance(error, _VALUE_ERRORS)
    why = f"it holds a value that no store can: {error}" if is_value else f"{type(error).__name__}: {error}"
    refused = Unstorable(f"{what[:1].upper()}{what[1:]} cannot be stored: {why}", is_value)
    refused.__cause__ = error
    return refused


def encode_namespace(namespace: Namespace) -> tuple[Any, ...]:
    """Name, id, retention, description, and the rest as bytes. Raises Unstorable."""
    details = (namespace.state, namespace.owner_email, dict(namespace.data), dict(namespace.search_attributes))
    row = (namespace.name, namespace.id, namespace.retention_ns, namespace.description)
    try:
        _check_integer("its retention", namespace.retention_ns)
        for text in (namespace.name, namespace.id, namespace.description):
            text.encode()
        return (*row, _encode_details(details))
    except _VALUE_ERRORS as error:
        raise unstorable(error, f"namespace {namespace.name!r}") from error


def decode_namespace(name: str, id: str, retention_ns: int, description: str, details: bytes) -> Namespace:
    """What `encode_namespace` was given."""
    if not details:  # written before there were any
        return Namespace(name, id, retention_ns, description)
    state, owner_email, data, search_attributes = _decode_details(details)
    return Namespace(name, id, retention_ns, description, owner_email, state, data, search_attributes)


_encode_details = msgspec.msgpack.Encoder().encode
_decode_details = msgspec.msgpack.Decoder(tuple[int, str, dict[str, str], dict[str, int]]).decode
