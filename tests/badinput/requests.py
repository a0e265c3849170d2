"""Requests made from the descriptors of the API: plausible ones, and the same with something hostile in them.

Every value comes from one `random.Random`, so a request is known by its seed. What a field is for is guessed by its
name; what is hostile goes by its type, so a field that a later version of the API adds is attacked as well.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from temporalio.api.enums.v1 import CommandType
from temporalio.api.failure.v1 import Failure
from temporalio.api.update.v1 import Acceptance, Outcome, Response
from temporalio.api.workflowservice import v1 as service

from tests.badinput import corpus

DEPTH_MAX = 6
QUEUES = ("q0", "q1")
WORKFLOWS = tuple(f"w{number}" for number in range(6))
SCHEDULES = ("s0", "s1")
ATTRIBUTES = {"Word": "Keyword", "Number": "Int", "Share": "Double", "Moment": "Datetime", "Words": "KeywordList"}

_STAMPS = frozenset({"google.protobuf.Duration", "google.protobuf.Timestamp"})

Fresh = Callable[[str], str | bytes | None]
"""A value for a field of this name that fits the world as it is now; None: any will do."""


class Maker:
    """See the module's text. `fresh` is asked first, for identifiers of what there is."""

    def __init__(self, dice: random.Random, fresh: Fresh) -> None:
        self.dice = dice
        self._fresh = fresh
        self._count = 0

    # --- plausible ------------------------------------------------------------------------------

    def request(self, kind: type[Message]) -> Any:
        """A message of this kind, filled in here and there."""
        message = kind()
        self.fill(message, 0)
        if kind is service.ExecuteMultiOperationRequest:
            self._start_and_update(message)
        return message

    def _start_and_update(self, message: Any) -> None:
        """The one pair of operations that there is, of one workflow."""
        del message.operations[:]
        start, update = message.operations.add().start_workflow, message.operations.add().update_workflow
        self.fill(start, 1)
        self.fill(update, 1)
        start.namespace = update.namespace = message.namespace
        start.workflow_id = update.workflow_execution.workflow_id
        start.workflow_id_conflict_policy = 2
        start.ClearField("workflow_start_delay")
        start.request_eager_execution = False
        update.workflow_execution.run_id = ""

    def fill(self, message: Any, depth: int) -> None:
        """Set some of its fields."""
        descriptor = message.DESCRIPTOR
        if descriptor.full_name in _STAMPS:
            message.seconds = self.dice.choice((0, 1, 30, 3600)) + 1_700_000_000 * descriptor.full_name.endswith("p")
            return
        if descriptor.full_name == "google.protobuf.Any":
            self._body(message)
            return
        if descriptor.full_name == "temporal.api.common.v1.Payload":
            message.metadata["encoding"] = b"json/plain"
            message.data = self.dice.choice(corpus.WELL_FORMED)
            return
        chosen = {oneof.name: self._choice(oneof) for oneof in descriptor.oneofs}
        for field in descriptor.fields:
            oneof = field.containing_oneof
            if oneof is not None and chosen[oneof.name] != field.name:
                continue
            if self.dice.random() < self._chance(field, depth):
                self._set(message, field, depth)
        if descriptor.full_name == "temporal.api.command.v1.Command":
            _name_the_type(message)

    def _choice(self, oneof: Any) -> str:
        """The member that is set: mostly the usual one."""
        usual = [field.name for field in oneof.fields if field.name in _USUAL]
        return usual[0] if usual and self.dice.random() < 0.8 else self.dice.choice(oneof.fields).name

    def _chance(self, field: Any, depth: int) -> float:
        if field.name in _UNUSUAL or field.full_name in _UNUSUAL:
            return 0.01
        if field.name in _NEEDED or field.full_name in _NEEDED:
            return 0.98
        if field.containing_type.name == "StructuredCalendarSpec":
            return 0.1
        if field.message_type is None:
            return 0.35
        return 0.0 if depth >= DEPTH_MAX else 0.7 if depth == 0 else 0.4

    def _set(self, message: Any, field: Any, depth: int) -> None:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            for _ in range(self.dice.randint(0, 3)):
                self._put(message, field, self._key(field), depth)
        elif field.is_repeated:
            for _ in range(self.dice.randint(0, 2)):
                if kind is None:
                    getattr(message, field.name).append(self.value(field))
                else:
                    self.fill(getattr(message, field.name).add(), depth + 1)
        elif kind is None:
            setattr(message, field.name, self.value(field))
        else:
            member = getattr(message, field.name)
            member.SetInParent()
            self.fill(member, depth + 1)

    def _key(self, field: Any) -> Any:
        if field.name in ("indexed_fields", "search_attributes"):
            return self.dice.choice([*ATTRIBUTES, "Unknown"])
        self._count += 1
        return f"key{self._count}"

    def _put(self, message: Any, field: Any, key: Any, depth: int) -> None:
        entries, value = getattr(message, field.name), field.message_type.fields_by_name["value"]
        if value.message_type is None:
            entries[key] = self.value(value)
        else:
            self.fill(entries[key], depth + 1)

    def value(self, field: Any) -> Any:
        """A plausible scalar."""
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            return self._text(field)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return self.dice.random() < 0.5
        if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
            return self.dice.choice(field.enum_type.values).number if self.dice.random() < 0.3 else 0
        if field.containing_type.name == "Range":
            return 1
        if field.name in ("workflow_task_finish_event_id", "workflow_task_id"):
            return self.dice.choice((3, 4))
        if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return self.dice.choice((1.0, 2.0, 0.0))
        return self.dice.choice((0, 1, 2, 3, 5))

    def _text(self, field: Any) -> Any:
        is_bytes = field.type == FieldDescriptor.TYPE_BYTES
        known = self._fresh(field.full_name) or self._fresh(field.name)
        if known is not None:
            return known.encode() if is_bytes and isinstance(known, str) else known
        if field.name in ("cron_schedule", "cron_string"):
            return self.dice.choice(_CRONS[field.name])
        if field.containing_type.name == "CalendarSpec" and field.name != "comment":
            return self.dice.choice(("*", "1", "", "2-5"))
        if field.name in ("query", "visibility_query"):
            return self.dice.choice(("", "WorkflowId = 'w0'", "TaskQueue = 'q1'"))
        if field.name == "timezone_data":
            return b""
        text = self.dice.choice(("a", "b", "some text"))
        return self.dice.choice(corpus.WELL_FORMED) if is_bytes else text

    def _body(self, message: Any) -> None:
        """A protocol message of an update."""
        body = self.dice.choice((Acceptance(), Response(outcome=Outcome(failure=Failure(message="no"))), Failure()))
        message.type_url = f"type.googleapis.com/{body.DESCRIPTOR.full_name}"
        message.value = body.SerializeToString()

    # --- hostile --------------------------------------------------------------------------------

    def spoil(self, message: Any) -> None:
        """Put something hostile into one to three of its fields, or of fields that it gets for this."""
        for _ in range(self.dice.choice((1, 1, 1, 2, 3))):
            places = list(self._places(message, 0))
            if places:  # some requests say nothing
                [place] = self.dice.choices(places, [_weight(field) for _, field in places])
                self._spoil(*place)

    def _places(self, message: Any, depth: int) -> Iterator[tuple[Any, Any]]:
        """Every field of the message and of all that are set within it."""
        for field in message.DESCRIPTOR.fields:
            yield message, field
            kind = field.message_type
            if kind is None or depth > DEPTH_MAX:
                continue
            if kind.GetOptions().map_entry:
                if kind.fields_by_name["value"].message_type is not None:
                    for value in getattr(message, field.name).values():
                        yield from self._places(value, depth + 1)
            elif field.is_repeated:
                for member in getattr(message, field.name):
                    yield from self._places(member, depth + 1)
            elif message.HasField(field.name):
                yield from self._places(getattr(message, field.name), depth + 1)

    def _spoil(self, message: Any, field: Any) -> None:
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            self._crowd(message, field)
        elif kind is not None and kind.full_name in _STAMPS:
            value = getattr(message, field.name) if not field.is_repeated else getattr(message, field.name).add()
            value.seconds, value.nanos = self.dice.choice(corpus.SECONDS), self.dice.choice(corpus.NANOS)
        elif kind is not None:
            member = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
            if not field.is_repeated:
                member.SetInParent()
            self.fill(member, 3)
        elif field.is_repeated:
            getattr(message, field.name).append(self.hostile(field))
        else:
            setattr(message, field.name, self.hostile(field))

    def _crowd(self, message: Any, field: Any) -> None:
        """Many entries, or one with a strange name."""
        key = field.message_type.fields_by_name["key"]
        for number in range(self.dice.choice((1, 1, 1, 1001))):
            name: Any = self.dice.choice(("", "\0", "k" * 2000)) if not number else f"many{number}"
            self._put(message, field, name if key.cpp_type == FieldDescriptor.CPPTYPE_STRING else number, DEPTH_MAX)

    def hostile(self, field: Any) -> Any:
        """A scalar that nobody should send."""
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self._bytes(field)
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            if field.name in ("cron_schedule", "cron_string"):
                return self.dice.choice(corpus.CRONS)
            return self.dice.choice(corpus.QUERIES if field.name in ("query", "visibility_query") else corpus.TEXTS)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return self.dice.random() < 0.5
        if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            number = self.dice.choice(corpus.FLOATS)
            return number if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE else max(min(number, 3e38), -3e38)
        number = self.dice.choice(corpus.INTEGERS)
        least, most = _RANGES[field.cpp_type]
        return max(least, min(most, number))

    def _bytes(self, field: Any) -> bytes:
        if not field.name.endswith("token"):
            return self.dice.choice((*corpus.JSONS, *corpus.ZONE_TABLES))
        known = self._fresh(field.full_name) or self._fresh(field.name)
        if known and self.dice.random() < 0.6:
            return self._forged(known.encode() if isinstance(known, str) else known)
        return self.dice.choice(corpus.TOKENS)

    def _forged(self, token: bytes) -> bytes:
        """A token of ours with one thing in it another."""
        try:
            parts = msgspec.msgpack.decode(token)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return token[:-1]
        if not isinstance(parts, list) or not parts:
            return token[:-1]
        parts[self.dice.randrange(len(parts))] = self.dice.choice(corpus.PARTS)
        return msgspec.msgpack.encode(parts)


_RANGES: Mapping[int, tuple[int, int]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
_USUAL = frozenset({"start_workflow", "application_failure_info", "id", "termination_operation", "outcome", "success"})
"""Of the members of a `oneof`, those that lead somewhere."""
_UNUSUAL = frozenset(
    {
        *("completion_callbacks", "timezone_data", "is_global_namespace", "clusters", "cron_schedule"),
        "temporal.api.workflow.v1.NewWorkflowExecutionInfo.workflow_id_reuse_policy",
        "temporal.api.schedule.v1.ScheduleSpec.timezone_name",
        "temporal.api.schedule.v1.StructuredCalendarSpec.year",
        "temporal.api.schedule.v1.CalendarSpec.year",
        "temporal.api.workflowservice.v1.UpdateScheduleRequest.conflict_token",
        "temporal.api.workflowservice.v1.UpdateActivityOptionsRequest.restore_original",
        "temporal.api.workflowservice.v1.DescribeNamespaceRequest.id",
    }
)
"""Fields that are refused as soon as they are set, or nearly: left to `spoil`."""
_CRONS = {"cron_string": ("@every 1h", "0 12 * * *", ""), "cron_schedule": ("", "", "@daily")}
_NUMBERS = frozenset(
    {
        *(FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_INT32),
        *(FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64),
    }
)


def _weight(field: Any) -> int:
    """How often a field is chosen: numbers, times and tokens are what this is about."""
    if field.message_type is not None:
        return 20 if field.message_type.full_name in _STAMPS else 2
    if field.cpp_type in _NUMBERS or field.name.endswith("token") or field.name in ("query", "cron_string"):
        return 6
    return 3 if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM else 1


def _name_the_type(command: Any) -> None:
    """A command's type is that of its attributes."""
    attributes = command.WhichOneof("attributes")
    if attributes:
        name = attributes.removesuffix("_command_attributes").upper()
        command.command_type = CommandType.Value(f"COMMAND_TYPE_{name}")


_NEEDED = frozenset(
    {
        *(
            "namespace",
            "workflow_id",
            "workflow_type",
            "task_queue",
            "name",
            "workflow_execution",
            "execution",
            "request_id",
        ),
        *(
            "schedule_id",
            "schedule",
            "spec",
            "action",
            "start_workflow",
            "job_id",
            "reason",
            "task_token",
            "signal_name",
        ),
        *("activity_id", "query_type", "command_type", "attributes", "update_ref", "request", "meta", "input", "type"),
        *("patch", "activity_options", "update_mask", "paths", "failure", "timer_id", "failure_info", "commands", "id"),
        *("marker_name", "operation", "update_id", "visibility_query", "start_to_close_timeout", "failure"),
        "temporal.api.workflowservice.v1.RegisterNamespaceRequest.workflow_execution_retention_period",
    }
)
