"""Values of types that people use and msgspec does not know, and keys that are one in JSON."""

from __future__ import annotations

import ipaddress
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Generic, TypeVar
from typing import Iterable as OldIterable  # noqa: UP035
from uuid import UUID

import msgspec
import pytest

from perdure.sdk.convert import Converter
from perdure.sdk.errors import PayloadError

CONVERTER = Converter()
T = TypeVar("T")


class Sku(str):
    __slots__ = ()


class Cents(int):
    pass


class Ratio(float):
    pass


class Seal(bytes):
    pass


class Tags(list[int]):
    pass


class Conf(dict[str, float]):
    pass


class Box(list[T], Generic[T]):
    pass


class Color(Enum):
    RED = "red"


class Pair(Enum):
    ONE = (1, 2)


@dataclass
class Basket:
    items: Iterable[int]
    counts: defaultdict[str, int]
    seen: deque[Sku] = field(default_factory=lambda: deque([Sku("a")]))
    host: ipaddress.IPv4Address | None = None


def there_and_back(value: Any, kind: Any) -> Any:
    return CONVERTER.from_payload(CONVERTER.to_payload(value), kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Sku("x"), Sku),
        (Cents(5), Cents),
        (Ratio(1.5), Ratio),
        (Seal(b"x"), Seal),
        (bytearray(b"x"), bytearray),
        ({"a": Seal(b"x")}, dict[str, Seal]),
        ([Sku("x")], list[Sku]),
        ({Sku("x"): Cents(1)}, dict[Sku, Cents]),
        (Tags([1]), Tags),
        (Conf(a=1.5), Conf),
        (Box([1]), Box),
        (deque([1, 2]), deque[int]),
        (deque([1, 2]), deque),
        (UserList([1]), UserList),
        (UserDict(a=1), UserDict),
        (OrderedDict(b=1, a=2), OrderedDict[str, int]),
        (OrderedDict(b=1, a=2), OrderedDict),
        (Counter("aab"), Counter[str]),
        (Counter("aab"), Counter),
        (defaultdict(int, a=1), defaultdict[str, int]),
        (defaultdict(list, a=[1]), defaultdict[str, list[int]]),
        (ipaddress.ip_address("1.2.3.4"), ipaddress.IPv4Address),
        (ipaddress.ip_address("::1"), ipaddress.IPv6Address),
        (ipaddress.ip_network("10.0.0.0/8"), ipaddress.IPv4Network),
        (ipaddress.ip_interface("fe80::1/64"), ipaddress.IPv6Interface),
        (Basket([1], defaultdict(int, a=1), deque([Sku("x")]), ipaddress.IPv4Address("1.2.3.4")), Basket),
    ],
)
def test_it_comes_back_as_it_went(value: Any, kind: Any) -> None:
    back = there_and_back(value, kind)
    assert back == value
    assert type(back) is type(value)


def test_what_is_inside_is_of_the_annotated_type() -> None:
    assert [type(part) for part in there_and_back(deque([Sku("x")]), deque[Sku])] == [Sku]
    assert [type(part) for part in there_and_back([Sku("x")], Iterable[Sku])] == [Sku]
    back = there_and_back(defaultdict(list, a=[1]), defaultdict[str, list[int]])
    back["b"].append(2)
    assert back == {"a": [1], "b": [2]}


@pytest.mark.parametrize("kind", [Iterable[int], OldIterable[int], Iterable, list[Iterable[int]], Iterable[int] | None])
def test_an_abstract_annotation_gets_a_list(kind: Any) -> None:
    value: Any = [[1, 2]] if "list[" in str(kind) else [1, 2]
    assert there_and_back(value, kind) == value


def test_an_iterator_can_be_iterated_once() -> None:
    back = there_and_back([1, 2], Iterator[int])
    assert (next(back), list(back)) == (1, [2])


@pytest.mark.parametrize(
    ("value", "plain"),
    [(MappingProxyType({"a": 1}), {"a": 1}), (ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}), (Sku("x"), "x")],
)
def test_without_an_annotation_it_is_plain(value: Any, plain: Any) -> None:
    assert there_and_back(value, Any) == plain


@pytest.mark.parametrize(
    ("data", "kind", "complaint"),
    [
        (["x"], Iterable[int], "Expected `int`, got `str`"),
        ("5", Cents, "Expected `int`, got `str`"),
        (5, Sku, "Expected `str`, got `int`"),
        ({"a": 1}, defaultdict, "a defaultdict's factory is not in JSON: annotate it as"),
        ({"a": 1}, defaultdict[str, Cents], "says of none: annotate it as a dict"),
        ("localhost", ipaddress.IPv4Address, "localhost"),
        ([1, 2], Pair, "Enums must contain|Input should be"),
    ],
)
def test_what_does_not_fit_is_said(data: Any, kind: Any, complaint: str) -> None:
    with pytest.raises(PayloadError, match=complaint):
        there_and_back(data, kind)


@dataclass
class Mixed:
    names: Any


class MixedStruct(msgspec.Struct):
    names: dict[Any, str]


@pytest.mark.parametrize(
    ("value", "path", "keys"),
    [
        ({1: "a", "1": "b"}, "value", "1 and '1'"),
        ({"x": [{1: "a", "1": "b"}]}, "value['x'][0]", "1 and '1'"),
        ([{}, ({1.5: 1, "1.5": 2},)], "value[1][0]", "1.5 and '1.5'"),
        ({Color.RED: 1, "red": 2}, "value", "<Color.RED: 'red'> and 'red'"),
        ({"a": {UUID(int=5): 1, str(UUID(int=5)): 2}}, "value['a']", "UUID("),
        (Mixed({1: "a", "1": "b"}), "value.names", "1 and '1'"),
        (MixedStruct({1: "a", "1": "b"}), "value.names", "1 and '1'"),
        (OrderedDict({1: "a", "1": "b"}), "value", "1 and '1'"),
        (deque([{1: "a", "1": "b"}]), "value[0]", "1 and '1'"),
    ],
)
def test_two_keys_that_are_one_in_json_are_refused_with_their_path(value: Any, path: str, keys: str) -> None:
    with pytest.raises(PayloadError) as caught:
        CONVERTER.to_payload(value)
    assert f"cannot be serialised: {path} is of type " in str(caught.value)
    assert keys in str(caught.value)
    assert "are one and the same in JSON" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        {1: "a", "2": "b"},
        {"1": "a", "x": {1: "b"}},
        {1: 1, 2: 2},
        {"a": msgspec.Raw(b'{"b" : 1}'), 1: 2},
        {"n": 10**40, 1: 2},
        {"f": 1e16, "g": -0.0, 1: [1e-7, 1e22]},
        {"text": 'é\u2028\x7f\\ "', 1: {"x"}},
    ],
)
def test_other_dicts_of_mixed_keys_are_written(value: Any) -> None:
    CONVERTER.to_payload(value)


@pytest.mark.parametrize("value", [{True: 1}, {None: 1}, {(1, 2): 1}, range(3), {}.keys(), 1j])
def test_what_has_no_one_way_back_is_refused(value: Any) -> None:
    with pytest.raises(PayloadError, match="cannot be serialised"):
        CONVERTER.to_payload(value)


@pytest.mark.parametrize("value", [deque([float("nan")]), UserDict(a=float("inf")), Ratio("nan"), [Ratio("inf")]])
def test_a_number_that_json_cannot_write_is_refused_in_them_too(value: Any) -> None:
    with pytest.raises(PayloadError, match="no nan and no infinity"):
        CONVERTER.to_payload(value)
