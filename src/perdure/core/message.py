"""What one workflow sends to another: rows of the sender's own commit, delivered by the shell afterwards.

A commit changes one workflow id, so whatever concerns another leaves as a message that becomes durable
together with the decision to send it (the outbox). The shell delivers it as often as it takes; whoever gets
it recognises a repetition by the thing itself: a child that is there already, a signal whose request id is
known, a cancellation that was requested, a child that is pending no more. So no message is lost and none
counts twice, whatever crashes.
"""

from __future__ import annotations

import msgspec

from perdure.core.names import ExecutionKey


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """The run that something comes from, and the event there that began it: a parent, or a sender."""

    namespace: str
    workflow_id: str
    run_id: str
    event_id: int


class StartChild(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Start a child; the parent is told by `ResolveChildStart`."""

    request: bytes
    """Serialised StartWorkflowExecutionRequest."""
    parent: Origin
    root_workflow_id: str
    root_run_id: str


class SignalExternal(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Signal another workflow; the sender is told by `ResolveExternal`."""

    request: bytes
    """Serialised SignalWorkflowExecutionRequest."""
    sender: Origin
    child_only: bool


class CancelExternal(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Request another workflow's cancellation; the sender is told by `ResolveExternal`."""

    request: bytes
    """Serialised RequestCancelWorkflowExecutionRequest."""
    sender: Origin
    child_only: bool


class CloseChild(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The parent has closed: do to the child what its parent close policy says. Nobody is told."""

    parent: Origin
    policy: int
    """temporal.api.enums.v1.ParentClosePolicy."""


class ChildClosed(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """To the parent: the chain of a child's runs has ended."""

    initiated_event_id: int
    workflow_id: str
    workflow_type: str
    run_id: str
    """The last of the chain."""
    first_run_id: str
    closing: bytes
    """The child's closing event, serialised."""
    parent_run_id: str
    """The run that initiated the child."""


Body = StartChild | SignalExternal | CancelExternal | CloseChild | ChildClosed


class Message(msgspec.Struct, frozen=True):
    """One row of the outbox. The target's `run_id` is empty when its current run is meant."""

    id: str
    """Sender's run, event and purpose: the same decision makes the same message."""
    namespace: str
    workflow_id: str
    run_id: str
    body: Body


def message_id(key: ExecutionKey, event_id: int, purpose: str) -> str:
    """The id of what event `event_id` of a run sends."""
    return f"{key.run_id}/{event_id}/{purpose}"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """The row that stores keep (msgpack)."""
    return _encoder.encode(message)


def decode_message(data: bytes) -> Message:
    """Raises msgspec.ValidationError when the bytes are not a message."""
    return _decoder.decode(data)
