"""What is known of what can be called."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional, Protocol, TypeVar

import pytest

from perdure import RawValue
from perdure.sdk.declare.callables import UNKNOWN, Shape, is_async, own_name, refuses, shape_of

T = TypeVar("T")


class Reader(Protocol):
    def read(self) -> bytes: ...


@pytest.mark.parametrize(
    ("kind", "null", "binary"),
    [
        (Any, False, False),
        (object, False, False),
        (None, False, True),
        (type(None), False, True),
        (str, True, True),
        (int, True, True),
        (list[int], True, True),
        (Mapping[str, int], True, True),
        (bytes, True, False),
        (bytearray, True, False),
        (memoryview, True, False),
        (Optional[str], False, True),  # noqa: UP045
        (str | None, False, True),
        (str | bytes, True, False),
        (Annotated[str, "text"], True, True),
        (T, False, False),
        (Literal["a"], False, False),
        (Reader, False, False),
    ],
)
def test_what_null_and_bytes_can_be(kind: Any, null: bool, binary: bool) -> None:
    assert (refuses(kind, None), refuses(kind, b"x")) == (null, binary)


class Desk:
    def book(self, seat: int, *others: str) -> str:
        return ""

    async def __call__(self, seat: int, row: str = None) -> bytes:  # noqa: RUF013 - people write so  # pyright: ignore
        return b""


def two(first: int, second: str) -> float:
    return 0.0


def test_the_shape_of_everything_that_can_be_called() -> None:
    assert shape_of(two) == Shape([int, str], float, ["first", "second"], 2, 2)
    assert shape_of(Desk().book) == Shape([int], str, ["seat", "*others"], 1, float("inf"))
    assert shape_of(Desk.book).without(1) == shape_of(Desk().book)
    assert shape_of(functools.partial(two, 1)) == Shape([str], float, ["second"], 1, 1)
    assert shape_of(functools.partial(two, second="x")) == Shape([int], float, ["first"], 1, 1)
    assert shape_of(Desk()) == Shape([int, str | None], bytes, ["seat", "row"], 1, 2)
    assert shape_of([].append).most == 1
    assert shape_of({}.update) is UNKNOWN
    assert shape_of(dict[str, int]().update).misfit(5) == ""


def test_their_names_and_what_must_be_awaited() -> None:
    named = [own_name(fn) for fn in (two, Desk().book, functools.partial(two, 1), Desk(), len, lambda: 1)]
    assert named == ["two", "book", "two", "Desk", "len", None]
    assert [is_async(fn) for fn in (two, Desk(), functools.partial(Desk(), 1), Desk().book)] == [
        False,
        True,
        True,
        False,
    ]


def any_number(first: int, *others: RawValue) -> None: ...


def test_what_any_number_of_arguments_are_decoded_to() -> None:
    """Only raw ones are, so that annotations which nobody ever looked at stay without effect."""
    assert shape_of(any_number).kinds(3) == [int, RawValue, RawValue]
    assert shape_of(any_number).without(1).kinds(2) == [RawValue, RawValue]
    assert shape_of(any_number).kinds(1) == shape_of(any_number).kinds(0) == [int]
    assert shape_of(Desk().book).kinds(3) == [int]
