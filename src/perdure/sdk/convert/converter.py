"""The converter: one Python value, one `Payload`.

Encodings are Temporal's, so that workers in any language and the UI read our values and we
read theirs: `binary/null`, `binary/plain`, `json/protobuf`, `binary/protobuf` (read only) and
`json/plain`. Decoding goes by the annotation of the parameter or result.

Sizes are checked here, where the value still has a name, and not by a server that would only
say "blob too large".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, Payloads

from perdure.sdk.convert.codec import PayloadCodec
from perdure.sdk.convert.json_types import decoder_for, encode_json, find_unserialisable, type_name
from perdure.sdk.convert.raw import RawValue
from perdure.sdk.errors import PayloadCodecError, PayloadError, PayloadTooLargeError
from perdure.sdk.option_names import options_of
from perdure.sdk.texts import class_name, repr_of, text_of
from perdure.sdk.traces import cause_of

DEFAULT_LIMIT_BYTES = 2 << 20
"""What the arguments of one call, or one result, may take: Temporal's blob limit."""

_NULL = {"encoding": b"binary/null"}
_BINARY = {"encoding": b"binary/plain"}
_JSON = Payload(metadata={"encoding": b"json/plain"})


class Converter:
    """Encodes and decodes; stateless, may be shared between threads.

    Args:
        codec: applied to every payload after encoding and before decoding.
        limit_bytes: the most that the values of one call may take together.
    """

    @options_of("Converter")
    def __init__(self, codec: PayloadCodec | None = None, *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._codec = codec
        self.limit_bytes = limit_bytes

    @property
    def has_codec(self) -> bool:
        """Whether payloads are not what values become alone: perhaps encrypted."""
        return self._codec is not None

    def to_payloads(self, values: Iterable[Any], what: str = "value") -> list[Payload]:
        """Encode values, in order.

        Args:
            values: the arguments of a call, or the one result.
            what: how an error names them, e.g. "the result of activity charge_payment".

        Raises:
            PayloadError: a value has no encoding; names its type and the path to it.
            PayloadCodecError: the codec failed.
            PayloadTooLargeError: together they exceed the limit.
        """
        payloads = [_encode(value, what) for value in values]
        if self._codec is not None:
            payloads = _coded(self._codec.encode, payloads, what)
        size = 0
        for payload in payloads:
            size += len(payload.data)
        if size > self.limit_bytes:
            raise PayloadTooLargeError(
                f"{what}: {size:,} bytes are more than the {self.limit_bytes:,} that history may hold for one call; "
                "store it elsewhere (a file, a table, an object store) and pass its name"
            )
        return payloads

    def to_payload(self, value: Any, what: str = "value") -> Payload:
        """Encode one value. Raises as `to_payloads`."""
        return self.to_payloads((value,), what)[0]

    def to_payloads_message(self, values: Iterable[Any], what: str = "value") -> Payloads:
        """As `to_payloads`, in the wire's list."""
        return Payloads(payloads=self.to_payloads(values, what))

    def from_payloads(
        self, payloads: Sequence[Payload], kinds: Sequence[Any] = (), what: str = "value", names: Sequence[str] = ()
    ) -> list[Any]:
        """Decode payloads to the annotations at the same places; Any where there are fewer annotations.

        Args:
            names: of the parameters at the same places, for the error.

        Raises:
            PayloadError: an unknown encoding, or bytes that do not fit the annotation; names the place.
            PayloadCodecError: the codec failed.
        """
        if self._codec is not None:
            payloads = _coded(self._codec.decode, payloads, what)
        known = len(kinds)
        return [_decode(p, kinds[i] if i < known else Any, what, i, names) for i, p in enumerate(payloads)]

    def from_payload(self, payload: Payload, kind: Any = Any, what: str = "value") -> Any:
        """Decode one payload. Raises as `from_payloads`."""
        return self.from_payloads((payload,), (kind,), what)[0]


def _coded(
    work: Callable[[Sequence[Payload]], Sequence[Payload]], payloads: Sequence[Payload], what: str
) -> list[Payload]:
    """What a codec made of payloads."""
    try:
        coded = list(work(payloads))
        if len(coded) == len(payloads) and all(isinstance(payload, Payload) for payload in coded):  # pyright: ignore
            return coded
    except Exception as error:  # a codec may ask a key service: anything can be raised
        raise PayloadCodecError(f"{what}: the codec failed: {class_name(error)}: {text_of(error)}") from error
    raise PayloadCodecError(f"{what}: the codec made {repr_of(coded, 100)} of {len(payloads)} payloads")


def _encode(value: Any, what: str) -> Payload:
    if value is None:
        return Payload(metadata=_NULL)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Payload(metadata=_BINARY, data=bytes(cast(bytes, value)))
    if isinstance(value, Message):
        return _encode_message(value)
    if type(value) is RawValue:
        return value.payload
    try:
        data = encode_json(value)
        payload = Payload()
        payload.CopyFrom(_JSON)  # a map given to the constructor is copied in Python
        payload.data = data
        return payload
    except Exception as error:  # the value's own code runs here (model hooks), so anything can be raised
        try:
            path, part = find_unserialisable(value)
        except Exception:  # of the value's own code again: its place is not known, then
            path, part = "value", value
        raise PayloadError(
            f"{what} cannot be serialised: {path} is of type {type_name(type(part))} ({text_of(error)}); "
            "use JSON values, dataclasses, msgspec Structs or pydantic models"
        ) from cause_of(error)


def _encode_message(value: Message) -> Payload:
    return Payload(
        metadata={"encoding": b"json/protobuf", "messageType": value.DESCRIPTOR.full_name.encode()},
        data=json_format.MessageToJson(value, indent=None).encode(),
    )


def _decode(payload: Payload, kind: Any, what: str, index: int, names: Sequence[str]) -> Any:
    if kind is RawValue:
        return RawValue(payload)
    encoding = payload.metadata.get("encoding", b"")
    try:
        if encoding == b"json/plain":
            return decoder_for(kind)(payload.data)
        if encoding == b"binary/null":
            return None
        if encoding == b"binary/plain":
            is_other = isinstance(kind, type) and issubclass(kind, (bytes, bytearray)) and kind is not bytes
            return kind(payload.data) if is_other else payload.data
        if encoding in (b"json/protobuf", b"binary/protobuf"):
            return _decode_message(payload, kind, encoding)
    except PayloadError as error:
        raise PayloadError(f"{_place(what, index, names)}: {error}") from cause_of(error)
    except Exception as error:  # msgspec, pydantic, protobuf and user validators have no common base
        place = _place(what, index, names)
        raise PayloadError(f"{place} does not decode to {type_name(kind)}: {text_of(error)}") from cause_of(error)
    raise PayloadError(
        f"{_place(what, index, names)} has the encoding {encoding.decode(errors='replace')!r}, which is not known "
        "here; it may have been written through a codec that this process lacks"
    )


def _place(what: str, index: int, names: Sequence[str]) -> str:
    """`the arguments of workflow order [1] (cents)`: as they are counted, and as the code names them."""
    return f"{what} [{index}]" + (f" ({names[min(index, len(names) - 1)]})" if names else "")


def _decode_message(payload: Payload, kind: Any, encoding: bytes) -> Message:
    if isinstance(kind, type) and issubclass(kind, Message):
        message = kind()
    else:
        name = payload.metadata["messageType"].decode()
        message = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))()
    if encoding == b"json/protobuf":
        return json_format.Parse(payload.data, message, ignore_unknown_fields=True)
    message.ParseFromString(payload.data)
    return message
