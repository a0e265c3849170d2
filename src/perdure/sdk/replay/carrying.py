"""Signals that nobody took, handed on to the next run of a chain.

A run that continues as new ends, and what its inbox still keeps would end with it: the signal's sender was told that
it is durable. So the command that continues takes them along, in a header, and the next run has them before it has
anything else. Event and header are one commit: none is lost and none comes twice. (A signal that arrives while the task
runs that decides to continue is another matter: the server refuses that decision, and the code sees the signal first.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from temporalio.api.common.v1 import Header, Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, WorkflowExecutionSignaledEventAttributes

HEADER = "perdure-signals"
_SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
_METADATA = {"encoding": b"binary/protobuf", "messageType": b"temporal.api.history.v1.History"}


class Signal(NamedTuple):
    """One, as it came."""

    name: str
    payloads: Sequence[Payload]
    header: Header | None = None


Signals = Sequence[Signal]
"""In the order of their coming."""


def put(header: Header, signals: Signals) -> None:
    """Write them, as the events that they were; nothing for none."""
    if not signals:
        return
    history = History()
    for name, payloads, carried in signals:
        attributes = history.events.add(event_type=_SIGNALED).workflow_execution_signaled_event_attributes
        attributes.signal_name = name
        attributes.input.payloads.extend(payloads)
        if carried is not None:
            attributes.header.CopyFrom(carried)
    header.fields[HEADER].CopyFrom(Payload(metadata=_METADATA, data=history.SerializeToString()))


def take(header: Header) -> list[Signal]:
    """The signals that were put."""
    if HEADER not in header.fields:
        return []
    events = History.FromString(header.fields[HEADER].data).events
    return [signal_of(event.workflow_execution_signaled_event_attributes) for event in events]


def signal_of(attributes: WorkflowExecutionSignaledEventAttributes) -> Signal:
    """From its event."""
    header = attributes.header if attributes.HasField("header") else None
    return Signal(attributes.signal_name, attributes.input.payloads, header)
