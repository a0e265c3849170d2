"""What a number may be that comes from outside: one small vocabulary, asked wherever one enters.

Two kinds of bounds. Whatever is *well formed* is checked for a message as a whole (`check`): its durations and
instants are what protobuf says they are, its floats are numbers, its maps have no more entries than one looks at in a
breath. It is what every request is asked before its handler sees it. What a field *means* is checked where the field
is read: `cap` a time-out, `coefficient_fault` a back-off.

Bounds are Temporal's where its server has one (a duration is cut to a century: read off it), and else what every store
can hold (`api.times`). Of two durations and the clock of this century no sum is beyond that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Priority

from perdure.api.times import NS_PER_SECOND

DURATION_MAX_S = 100 * 365 * 86_400
DURATION_MAX_NS = DURATION_MAX_S * NS_PER_SECOND
"""A century: time-outs, timers, back-offs and delays that are longer are this long."""
COEFFICIENT_MAX = float(DURATION_MAX_NS)
"""From a nanosecond to a century in one step: a back-off cannot grow faster."""

_FAIRNESS_KEY_LENGTH_MAX = 64
_NANOS_MAX = NS_PER_SECOND - 1
_TIMESTAMP_MIN_S, _TIMESTAMP_MAX_S = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, as protobuf has it (google/protobuf/timestamp.proto)."""


class OutOfBounds(Exception):
    """A value that nothing could be done with. `field` is its path in the message, `why` names value and bound."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.field = ""
        self.why = why

    def within(self, name: str) -> OutOfBounds:
        """The same, seen from the message around it."""
        self.field = f"{name}.{self.field}" if self.field else name
        return self

    def __str__(self) -> str:
        return f"{self.field}: {self.why}"


# --- single values --------------------------------------------------------------------------------


def cap(message: Duration) -> str:
    """Cut a duration that is too long, in the message itself. Returns what is wrong with it, "": nothing.

    The words are those of Temporal's server, which names the field before them.
    """
    seconds, nanos = message.seconds, message.nanos
    if 0 <= nanos <= _NANOS_MAX and 0 <= seconds < DURATION_MAX_S:  # nearly always
        return ""
    if seconds < 0 or (not seconds and nanos < 0):
        return "negative duration"
    if nanos < 0:
        return "duration has seconds and nanos with different signs"
    if nanos > _NANOS_MAX:
        return f"duration has out-of-range nanos: {nanos} > {_NANOS_MAX}"
    if seconds >= DURATION_MAX_S:
        message.seconds, message.nanos = DURATION_MAX_S, 0
    return ""


def coefficient_fault(value: float) -> str:
    """What is wrong with a back-off coefficient, "": nothing. 0 is one that is not set."""
    if value and not value >= 1:  # "not" sees NaN as well
        return "BackoffCoefficient cannot be less than 1 on retry policy."
    if value > COEFFICIENT_MAX:
        return f"BackoffCoefficient cannot be more than {COEFFICIENT_MAX:g} on retry policy: {value:g}."
    return ""


def rate_fault(value: float) -> str:
    """What is wrong with a number of things per second, "": nothing."""
    if math.isfinite(value) and value >= 0:
        return ""
    return "is negative" if value < 0 else f"is not finite: {value}"


# --- whole messages -------------------------------------------------------------------------------


def check(message: Message, entries_max: int) -> None:
    """Raises OutOfBounds for the first value in the message that is not well formed."""
    look = _look_of(message.DESCRIPTOR)
    if look is not None:
        look.check(message, entries_max)


def check_of(descriptor: Any) -> Callable[[Any, int], None] | None:
    """As `check`, for messages of one kind; None: nothing in them is ever looked at."""
    return _check_of(descriptor)


def _check_duration(value: Duration, _: int) -> None:
    seconds, nanos = value.seconds, value.nanos
    if not -_NANOS_MAX <= nanos <= _NANOS_MAX:
        raise OutOfBounds(f"duration has out-of-range nanos: {nanos} is not in [-{_NANOS_MAX}, {_NANOS_MAX}]")
    if (seconds > 0 > nanos) or (seconds < 0 < nanos):
        raise OutOfBounds(f"duration has seconds and nanos with different signs: {seconds} and {nanos}")


def _check_timestamp(value: Timestamp, _: int) -> None:
    if not 0 <= value.nanos <= _NANOS_MAX:
        raise OutOfBounds(f"timestamp has out-of-range nanos: {value.nanos} is not in [0, {_NANOS_MAX}]")
    if not _TIMESTAMP_MIN_S <= value.seconds <= _TIMESTAMP_MAX_S:
        raise OutOfBounds(
            f"timestamp is before year 1 or after year 9999: "
            f"{value.seconds} s is not in [{_TIMESTAMP_MIN_S}, {_TIMESTAMP_MAX_S}]"
        )


def _check_priority(value: Priority, _: int) -> None:
    if value.priority_key < 0:
        raise OutOfBounds(f"priority key can't be negative: {value.priority_key}")
    if not 0 <= value.fairness_weight < math.inf:
        raise OutOfBounds(f"fairness weight must be a number greater than zero, not {value.fairness_weight}")
    if len(value.fairness_key) > _FAIRNESS_KEY_LENGTH_MAX:
        raise OutOfBounds(
            f"fairness key length exceeds limit: {len(value.fairness_key)} > {_FAIRNESS_KEY_LENGTH_MAX} characters"
        )


def _check_number(value: float, _: int) -> None:
    if not math.isfinite(value):
        raise OutOfBounds(f"is not a finite number: {value}")


_Check = Callable[[Any, int], None]

_LEAVES: dict[str, _Check] = {
    Duration.DESCRIPTOR.full_name: _check_duration,
    Timestamp.DESCRIPTOR.full_name: _check_timestamp,
    Priority.DESCRIPTOR.full_name: _check_priority,
}
_OPAQUE = frozenset(
    {
        "temporal.api.common.v1.Payload",
        "google.protobuf.Any",
        "temporal.api.worker.v1.WorkerHostInfo",
    }
)
"""Messages that are kept and shown as they came; nothing is computed from them."""
_ELSEWHERE = frozenset(
    {
        "temporal.api.workflowservice.v1.RespondWorkflowTaskCompletedRequest.commands",
        "temporal.api.workflowservice.v1.RespondWorkflowTaskCompletedRequest.query_results",
    }
)
"""Looked at where they are read. A bad command fails its workflow task, and does so in history; answers to queries are
as many as the server has asked, which is seldom one. So the request that workers send most is not looked at here."""
_JUDGED = frozenset(
    {
        "temporal.api.workflowservice.v1.StartWorkflowExecutionRequest",
        "temporal.api.workflowservice.v1.SignalWithStartWorkflowExecutionRequest",
        "temporal.api.workflow.v1.NewWorkflowExecutionInfo",
        "temporal.api.command.v1.ScheduleActivityTaskCommandAttributes",
        "temporal.api.command.v1.StartTimerCommandAttributes",
        "temporal.api.command.v1.StartChildWorkflowExecutionCommandAttributes",
        "temporal.api.command.v1.ContinueAsNewWorkflowExecutionCommandAttributes",
        "temporal.api.taskqueue.v1.StickyExecutionAttributes",
    }
)
"""Messages whose durations and retry policy are all judged (`cap`, `core.retry.fault`) where they are read: they are
not looked at twice, and the refusal is in Temporal's words."""
_JUDGED_KINDS = frozenset({Duration.DESCRIPTOR.full_name, "temporal.api.common.v1.RetryPolicy"})


class _Look:
    """Where in a kind of message there is something to look at. Filled after it is made: kinds contain themselves."""

    __slots__ = ("choices", "has_more", "many", "maps", "numbers", "singles")

    def __init__(self) -> None:
        self.numbers: list[str] = []
        self.singles: list[tuple[str, _Check]] = []
        self.choices: list[tuple[str, dict[str, _Check]]] = []
        """By `oneof`: a single question says which of its members there is."""
        self.many: list[tuple[str, _Check]] = []
        self.maps: list[tuple[str, _Check | None]] = []
        self.has_more = False
        """Than `singles`: most kinds have not."""

    def check(self, message: Any, entries_max: int) -> None:
        """Raises OutOfBounds."""
        name = ""
        try:
            for name, check_one in self.singles:
                if message.HasField(name):
                    check_one(getattr(message, name), entries_max)
            if not self.has_more:
                return
            for name in self.numbers:
                _check_number(getattr(message, name), entries_max)
            for oneof, checks in self.choices:
                name = message.WhichOneof(oneof)
                if name in checks:
                    checks[name](getattr(message, name), entries_max)
            for name, check_one in self.many:
                for value in getattr(message, name):
                    check_one(value, entries_max)
            for name, check_value in self.maps:
                entries = getattr(message, name)
                if len(entries) > entries_max:
                    raise OutOfBounds(f"has too many entries: {len(entries)} > {entries_max}")
                if check_value is not None:
                    for key in entries:
                        check_value(entries[key], entries_max)
        except OutOfBounds as fault:
            fault.within(name)
            raise


_looks: dict[str, _Look | None] = {}
"""By full name of the kind of message; None: nothing to look at. Descriptors never change, so this is made once."""


def _look_of(descriptor: Any) -> _Look | None:
    try:
        return _looks[descriptor.full_name]
    except KeyError:
        return _make_look(descriptor)


def _make_look(descriptor: Any) -> _Look | None:
    if not _has_leaves(descriptor):
        _looks[descriptor.full_name] = None
        return None
    look = _looks[descriptor.full_name] = _Look()
    choices: dict[str, dict[str, _Check]] = {}
    for field in descriptor.fields:
        kind = field.message_type
        if _is_elsewhere(descriptor, field):
            continue
        if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            look.numbers.append(field.name)
        elif _is_map(field):
            value = kind.fields_by_name["value"].message_type
            look.maps.append((field.name, _check_of(value) if value else None))
        elif kind is not None and (check_one := _check_of(kind)) is not None:
            oneof = field.containing_oneof
            if field.is_repeated:
                look.many.append((field.name, check_one))
            elif oneof is not None and len(oneof.fields) > 1:
                choices.setdefault(oneof.name, {})[field.name] = check_one
            else:
                look.singles.append((field.name, check_one))
    look.choices = list(choices.items())
    look.has_more = bool(look.numbers or look.choices or look.many or look.maps)
    return look


def _check_of(descriptor: Any) -> _Check | None:
    leaf = _LEAVES.get(descriptor.full_name)
    if leaf is not None or descriptor.full_name in _OPAQUE:
        return leaf
    look = _look_of(descriptor)
    return None if look is None else look.check


def _is_elsewhere(owner: Any, field: Any) -> bool:
    """Whether somebody else looks at this field."""
    kind = field.message_type
    is_judged = kind is not None and kind.full_name in _JUDGED_KINDS and owner.full_name in _JUDGED
    return is_judged or field.full_name in _ELSEWHERE


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _has_leaves(descriptor: Any) -> bool:
    """Whether a duration, an instant, a float or a map is anywhere in such a message."""
    seen, todo = {descriptor.full_name}, [descriptor]
    while todo:
        owner = todo.pop()
        for field in owner.fields:
            kind = field.message_type
            if _is_elsewhere(owner, field):
                continue
            if kind is None:
                if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
                    return True
            elif kind.full_name in _LEAVES or _is_map(field):
                return True
            elif kind.full_name not in seen and kind.full_name not in _OPAQUE:
                seen.add(kind.full_name)
                todo.append(kind)
    return False
