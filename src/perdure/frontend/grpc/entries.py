"""Requests whose maps and lists have very many entries, found before they are decoded.

Protobuf's decoder takes a third of a microsecond for an entry of a map, and holds the interpreter meanwhile: a request
of four megabytes may have hundreds of thousands. Entries of a list are decoded faster, but then a handler goes through
them. So a large request is first decoded as a message of the same shape in which every map and list is one of
uninterpreted bytes, which costs next to nothing, and its lists are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from perdure.api.errors import Rejected, StatusCode

LARGE_BYTES = 64 << 10
"""A message, or a part of one, that is smaller has not so many entries."""
ENTRIES_MAX = 10_000
"""Of one map or list of messages: what handlers allow is less."""
_UNCOUNTED = frozenset(
    {
        "temporal.api.common.v1.Payloads.payloads",
        "temporal.api.workflowservice.v1.RespondWorkflowTaskCompletedRequest.commands",
        "temporal.api.workflowservice.v1.RespondWorkflowTaskCompletedRequest.messages",
        "temporal.api.history.v1.History.events",
    }
)
"""Lists that may be long: core bounds commands and messages, and decides them in steps; the others stay bytes."""


def check_entries(kind: type[Message], data: bytes) -> None:
    """Raises Rejected INVALID_ARGUMENT for a request with a map or list of more than `ENTRIES_MAX` entries.

    Bytes that are no such message pass: whoever decodes them says so.
    """
    if len(data) < LARGE_BYTES:
        return
    _check(_shapes(cast(Descriptor, kind.DESCRIPTOR)), kind.DESCRIPTOR.full_name, data, "")


def _check(shapes: dict[str, type[Message]], name: str, data: bytes, path: str) -> None:
    shape = shapes.get(name)
    if shape is None:
        return  # there is nothing to count in it
    try:
        message = shape.FromString(data)
    except DecodeError:
        return
    _look(shapes, message, path)


def _look(shapes: dict[str, type[Message]], message: Message, path: str) -> None:
    for field, value in message.ListFields():
        where = f"{path}.{field.name}" if path else field.name
        if field.message_type is not None:
            _look(shapes, value, where)
            continue
        kind, name, _ = field.json_name.split(":")
        if kind != _LONG_LIST and len(value) > ENTRIES_MAX:
            raise Rejected(StatusCode.INVALID_ARGUMENT, f"{where}: has too many entries: {len(value)}")
        for part in value:
            if len(part) >= LARGE_BYTES:
                _check(shapes, name, part, where)


_MAP, _LIST, _LONG_LIST = "map", "list", "long"


@cache
def _shapes(root: Descriptor) -> dict[str, type[Message]]:
    """The messages in a request in which there are maps or lists of messages, by name, with lists of bytes for both.

    What the bytes are is said by the one text of a field that is free, its name in JSON, which no two may share.
    """
    wanted = {found.full_name: found for found in _reached(root) if _has_entries(found)}
    numbers = {name: number for number, name in enumerate(wanted)}
    file = FileDescriptorProto(name=f"{root.full_name}.proto", package="perdure.shapes", syntax="proto3")
    for name, descriptor in wanted.items():
        shape = file.message_type.add(name=f"Shape{numbers[name]}")
        for field in descriptor.fields:
            inner = field.message_type
            if inner is None or not (inner.full_name in wanted or field.is_repeated):
                continue
            made = shape.field.add(name=field.name, number=field.number, label=_REPEATED, type=_BYTES)
            if not field.is_repeated:
                made.label, made.type = _OPTIONAL, _MESSAGE
                made.type_name = f".perdure.shapes.Shape{numbers[inner.full_name]}"
            else:
                kind = _MAP if inner.GetOptions().map_entry else _LONG_LIST if field.full_name in _UNCOUNTED else _LIST
                made.json_name = f"{kind}:{inner.full_name}:{field.number}"
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindFileByName(file.name).message_types_by_name
    return {name: GetMessageClass(found[f"Shape{number}"]) for name, number in numbers.items()}


_BYTES, _MESSAGE = FieldDescriptorProto.TYPE_BYTES, FieldDescriptorProto.TYPE_MESSAGE
_REPEATED, _OPTIONAL = FieldDescriptorProto.LABEL_REPEATED, FieldDescriptorProto.LABEL_OPTIONAL


def _reached(root: Descriptor) -> Iterator[Descriptor]:
    seen: dict[str, Descriptor] = {root.full_name: root}
    waiting = [root]
    while waiting:
        descriptor = waiting.pop()
        yield descriptor
        for field in descriptor.fields:
            inner = field.message_type
            if inner is not None and inner.full_name not in seen:
                seen[inner.full_name] = inner
                waiting.append(inner)


def _has_entries(descriptor: Descriptor) -> bool:
    return any(
        field.message_type is not None and field.is_repeated for found in _reached(descriptor) for field in found.fields
    )
