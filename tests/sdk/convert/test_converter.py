"""Values to payloads and back: encodings, annotations, refusals."""

from __future__ import annotations

import dataclasses
import enum
import json
import pathlib
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload, WorkflowExecution

from perdure.sdk.convert import Converter
from perdure.sdk.errors import PayloadError, PayloadTooLargeError

CONVERTER = Converter()


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Item:
    sku: str
    price: Decimal
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Order:
    id: uuid.UUID
    items: list[Item]
    placed: datetime
    note: str | None = None


class Struct(msgspec.Struct):
    name: str
    tags: set[int]


class Point(NamedTuple):
    x: int
    y: int


class Options(TypedDict, total=False):
    fast: bool


class Model(pydantic.BaseModel):
    amount: int = pydantic.Field(alias="Amount", ge=0)
    at: datetime


@dataclasses.dataclass
class Nested:
    model: Model
    path: pathlib.PurePosixPath


ORDER = Order(uuid.UUID(int=7), [Item("a", Decimal("1.10"))], datetime(2026, 1, 2, 3, tzinfo=UTC))
MODEL = Model(Amount=3, at=datetime(2026, 1, 2, tzinfo=UTC))


def there_and_back(value: Any, kind: Any = Any) -> Any:
    return CONVERTER.from_payload(CONVERTER.to_payload(value), kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (ORDER, Order),
        ([ORDER, ORDER], list[Order]),
        ({"a": ORDER}, dict[str, Order]),
        (Struct("x", {1, 2}), Struct),
        (Point(1, 2), Point),
        (Options(fast=True), Options),
        (Colour.RED, Colour),
        (Level.HIGH, Level),
        (MODEL, Model),
        ([MODEL], list[Model]),
        (Nested(MODEL, pathlib.PurePosixPath("/a/b")), Nested),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime),
        (date(2026, 1, 2), date),
        (timedelta(seconds=90), timedelta),
        (uuid.UUID(int=1), uuid.UUID),
        (Decimal("0.10"), Decimal),
        ((1, "a"), tuple[int, str]),
        (frozenset({1}), frozenset[int]),
        (b"\x00\xff", bytes),
        (bytearray(b"x"), bytearray),
        (None, int | None),
        (3, int | None),
        (5, float),
        ("ü€😀", str),
        (WorkflowExecution(workflow_id="w"), WorkflowExecution),
        (WorkflowExecution(workflow_id="w"), Any),
    ],
)
def test_a_value_comes_back_as_its_annotation_says(value: Any, kind: Any) -> None:
    back = there_and_back(value, kind)
    assert back == value
    assert isinstance(back, float if kind is float else type(value))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_plain_json_comes_back_without_any_annotation(value: Any) -> None:
    assert there_and_back(value) == value


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (None, b"binary/null"),
        (b"x", b"binary/plain"),
        (WorkflowExecution(), b"json/protobuf"),
        ({"a": 1}, b"json/plain"),
        (ORDER, b"json/plain"),
    ],
)
def test_encodings_are_temporals(value: Any, encoding: bytes) -> None:
    assert CONVERTER.to_payload(value).metadata["encoding"] == encoding


def test_a_message_names_its_type() -> None:
    payload = CONVERTER.to_payload(WorkflowExecution(workflow_id="w"))
    assert payload.metadata["messageType"] == b"temporal.api.common.v1.WorkflowExecution"
    assert json.loads(payload.data) == {"workflowId": "w"}


def test_binary_protobuf_is_read() -> None:
    message = WorkflowExecution(workflow_id="w")
    metadata = {"encoding": b"binary/protobuf", "messageType": message.DESCRIPTOR.full_name.encode()}
    assert CONVERTER.from_payload(Payload(metadata=metadata, data=message.SerializeToString())) == message


@pytest.mark.parametrize(
    ("value", "where", "kind"),
    [
        (object(), "value is of type object", "object"),
        ([1, {"a": (2, object())}], "value[1]['a'][1] is of type object", "object"),
        (Item("a", Decimal(1), object()), "value.colour is of type object", "object"),  # type: ignore[arg-type]
        (Struct("a", {lambda: 1}), "value.tags[0] is of type function", "function"),  # type: ignore[arg-type]
        ({"a": {(1, 2): 3}}, "value['a'] (its key (1, 2)) is of type tuple", "tuple"),
        (3j, "value is of type complex", "complex"),
        (float("nan"), "value is of type float (JSON has no nan and no infinity)", "float"),
        ({"a": [None, float("inf")]}, "value['a'][1] is of type float (JSON has no nan and no infinity)", "float"),
    ],
)
def test_what_cannot_be_serialised_is_named_with_its_path(value: Any, where: str, kind: str) -> None:
    with pytest.raises(PayloadError) as raised:
        CONVERTER.to_payloads((value,), "the result of activity charge")
    assert str(raised.value).startswith(f"the result of activity charge cannot be serialised: {where}")


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadError, match="cannot be serialised"):
        CONVERTER.to_payload(loop)


def test_too_much_is_refused_with_size_limit_and_advice() -> None:
    with pytest.raises(PayloadTooLargeError) as raised:
        CONVERTER.to_payloads((b"x" * 3_000_000,), "the result of activity scan")
    text = str(raised.value)
    assert "the result of activity scan: 3,000,000 bytes are more than" in text
    assert "2,097,152" in text
    assert "store it elsewhere" in text


def test_the_limit_is_on_all_arguments_together() -> None:
    CONVERTER.to_payloads([b"x" * (1 << 20)] * 2)
    with pytest.raises(PayloadTooLargeError):
        CONVERTER.to_payloads([b"x" * (1 << 20)] * 2 + [b"x"])


@pytest.mark.parametrize(
    ("value", "kind", "complaint"),
    [
        ({"sku": 3}, Item, "Expected `str`, got `int` - at `$.sku`"),
        ("no", int, "Expected `int`, got `str`"),
        ({"Amount": -1, "at": "2026-01-01"}, Model, "greater than or equal to 0"),
    ],
)
def test_what_does_not_fit_the_annotation_says_where(value: Any, kind: Any, complaint: str) -> None:
    with pytest.raises(PayloadError) as raised:
        CONVERTER.from_payloads([CONVERTER.to_payload(value)], [kind], "the arguments of activity f")
    assert "the arguments of activity f [0] does not decode to" in str(raised.value)
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("names", "place"), [(["n", "m"], "[1] (m)"), (["n", "*rest"], "[1] (*rest)"), ([], "[1] does")]
)
def test_what_does_not_fit_is_named_as_the_code_names_it(names: list[str], place: str) -> None:
    payloads = CONVERTER.to_payloads([1, "no"])
    with pytest.raises(PayloadError) as raised:
        CONVERTER.from_payloads(payloads, [int, int], "the arguments of activity f", names)
    assert f"the arguments of activity f {place}" in str(raised.value)
    assert raised.value.__cause__ is None, "the line of a decoder helps nobody"
    with pytest.raises(PayloadError, match=r"\[0\].*'binary/secret'"):
        CONVERTER.from_payloads([Payload(metadata={"encoding": b"binary/secret"})], [int], "arguments", names)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(PayloadError, match=r"'binary/secret'.*codec"):
        CONVERTER.from_payload(Payload(metadata={"encoding": b"binary/secret"}))


def test_missing_annotations_decode_to_what_the_json_says() -> None:
    payloads = CONVERTER.to_payloads([{"a": 1}, ORDER.items[0]])
    assert CONVERTER.from_payloads(payloads, [dict[str, int]]) == [
        {"a": 1},
        {"sku": "a", "price": "1.10", "colour": "red"},
    ]


@dataclasses.dataclass
class Cat:
    meow: int


@dataclasses.dataclass
class Dog:
    bark: int


def test_a_union_of_dataclasses_is_left_to_pydantic() -> None:
    assert there_and_back(Dog(3), Cat | Dog) == Dog(3)


class Flip:
    """A codec that can be seen: it turns the bytes around and marks them."""

    def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(metadata={"encoding": b"flip"}, data=p.SerializeToString()[::-1]) for p in payloads]

    def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(p.data[::-1]) if p.metadata["encoding"] == b"flip" else p for p in payloads]


def test_a_codec_sees_every_payload_both_ways() -> None:
    converter = Converter(Flip())
    payload = converter.to_payload(ORDER)
    assert payload.metadata["encoding"] == b"flip"
    assert converter.from_payload(payload, Order) == ORDER
    assert converter.from_payload(CONVERTER.to_payload(3), int) == 3


def test_the_limit_counts_what_the_codec_made_of_it() -> None:
    small = Converter(Flip(), limit_bytes=10)
    with pytest.raises(PayloadTooLargeError):
        small.to_payload("123456789")
