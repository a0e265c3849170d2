"""Messages too deep for protobuf's decoders, made shallow enough on their bytes.

Only one message of the API that we serve holds itself: a Failure has a cause. So a message is too deep if the causes in
it are; they are cut off behind `FAILURE_DEPTH_MAX` of them, as `failures.bounded` does where the message can be
decoded. What is met here came from a client that has no such bound, or was stored before perdure had one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from temporalio.api.failure.v1 import Failure

from perdure.api.failures import FAILURE_DEPTH_MAX

M = TypeVar("M", bound=Message)

_FIELDS_MAX = 20_000
"""Fields looked at before the bytes are given up as no message: about 20 ms of work."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types (https://protobuf.dev/programming-guides/encoding)."""
_CAUSE = Failure.DESCRIPTOR.fields_by_name["cause"].number
_MESSAGE = Failure.DESCRIPTOR.fields_by_name["message"].number
_NOTE = " [more causes were left out: there were too many for a message to be read]"


def decode(kind: type[M], data: bytes) -> M:
    """As `kind.FromString`, also when the failures in it are too deep for that. Raises DecodeError."""
    try:
        return kind.FromString(data)
    except DecodeError:
        cutter = _Cutter(data)
        shallow = cutter.message(cast(Descriptor, kind.DESCRIPTOR), 0, len(data))
        if not cutter.has_cut:
            raise
        return kind.FromString(shallow)


@cache
def _ways(descriptor: Descriptor) -> dict[int, Descriptor]:
    """The fields of a message through which a failure can be reached, and what they hold."""
    return {
        field.number: field.message_type
        for field in descriptor.fields
        if field.message_type is not None and _reaches(field.message_type, set())
    }


def _reaches(descriptor: Descriptor, seen: set[str]) -> bool:
    if descriptor.full_name == Failure.DESCRIPTOR.full_name:
        return True
    if descriptor.full_name in seen:
        return False
    seen.add(descriptor.full_name)
    return any(field.message_type is not None and _reaches(field.message_type, seen) for field in descriptor.fields)


class _Cutter:
    """The bytes of one message, while they are rewritten."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._fields_left = _FIELDS_MAX
        self.has_cut = False

    def message(self, descriptor: Descriptor, start: int, end: int, depth: int = 1) -> bytes:
        """The message between two places, with the failures in it cut; `depth` of a failure among its causes."""
        is_failure = descriptor.full_name == Failure.DESCRIPTOR.full_name
        is_innermost = is_failure and depth >= FAILURE_DEPTH_MAX
        ways = _ways(descriptor)
        pieces: list[bytes] = []
        kept = start
        note = b""
        for number, wire_type, field_start, value_start, field_end in self._fields(start, end):
            if wire_type != _BYTES or number not in ways:
                continue
            pieces.append(self._data[kept:field_start])
            kept = field_end
            if is_innermost:
                self.has_cut = True
                note = _NOTE.encode()
                continue
            inner = self.message(ways[number], value_start, field_end, depth + 1 if is_failure else 1)
            pieces.append(_head(number, len(inner)) + inner)
        pieces.append(self._data[kept:end])
        if note:
            text = self._text(start, end) + note
            pieces.append(_head(_MESSAGE, len(text)) + text)  # of a field that comes twice the last one counts
        return b"".join(pieces)

    def _text(self, start: int, end: int) -> bytes:
        """The message of the failure between two places."""
        text = b""
        for number, wire_type, _, value_start, field_end in self._fields(start, end):
            if number == _MESSAGE and wire_type == _BYTES:
                text = self._data[value_start:field_end]
        return text

    def _fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Number, wire type, and where field, value and the next field begin. Raises DecodeError."""
        at = start
        while at < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise DecodeError("a message too deep and too large to be read")
            tag, value = self._varint(at, end)
            wire_type = tag & 7
            if wire_type == _VARINT:
                _, after = self._varint(value, end)
            elif wire_type == _BYTES:
                size, value = self._varint(value, end)
                after = value + size
            elif wire_type in (_FIXED32, _FIXED64):
                after = value + (4 if wire_type == _FIXED32 else 8)
            else:
                raise DecodeError(f"no message: wire type {wire_type}")
            if after > end:
                raise DecodeError("no message: it is cut off")
            yield tag >> 3, wire_type, at, value, after
            at = after

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """The number at a place, and the place behind it. Raises DecodeError."""
        number = 0
        for shift in range(0, 70, 7):
            if at >= end:
                break
            byte = self._data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number, at
        raise DecodeError("no message: a number without an end")


def _head(number: int, size: int) -> bytes:
    """What stands before a field of so many bytes."""
    encoded = bytearray()
    for value in (number << 3 | _BYTES, size):
        while value > 0x7F:
            encoded.append(value & 0x7F | 0x80)
            value >>= 7
        encoded.append(value)
    return bytes(encoded)
