"""Gives the names of a list filter their attributes and its literals their types, or says why not.

What is judged first (name, value, operator) and every wording is Temporal's server's, asked of the real one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from temporalio.api.enums.v1 import WorkflowExecutionStatus

from perdure.api.times import NS_PER_SECOND
from perdure.core.search_attributes import PREDEFINED, SYSTEM, TYPE_NAMES, IndexedType, Value, parse_time, words
from perdure.stores.visibility.parser import (
    CONDITIONS_MAX,
    Both,
    Comparison,
    Either,
    Literal,
    Name,
    Node,
    Not,
    Operand,
    Syntax,
)
from perdure.stores.visibility.query import AllOf, AnyOf, Attribute, Condition, Order, Query, QueryError, Where

STATUSES: Mapping[str, int] = {
    name.removeprefix("WORKFLOW_EXECUTION_STATUS_").title().replace("_", ""): number
    for name, number in WorkflowExecutionStatus.items()
    if number
}
"""`Running`, `TimedOut`, ... as filters spell them."""

_STATUS, _DURATION = "ExecutionStatus", "ExecutionDuration"
_MANY = (IndexedType.TEXT, IndexedType.KEYWORD_LIST)
_IN_ORDER = (IndexedType.KEYWORD, IndexedType.INT, IndexedType.DOUBLE, IndexedType.DATETIME)
_ORDER_MAX = 16
"""What a page begins behind is compared field by field, each behind all before it."""
_GROUPS = (_STATUS, "TemporalNamespaceDivision")


def bind(syntax: Syntax, custom: Mapping[str, int]) -> Query:
    """`custom`: the attributes that the namespace registered. Raises QueryError."""
    binder = _Binder(custom)
    where = AllOf(()) if syntax.where is None else binder.where(syntax.where, negated=False)
    groups = [binder.attribute(operand) for operand in syntax.group_by]
    if len(groups) > 1:
        raise QueryError("operation is not supported: 'GROUP BY' clause supports only a single field")
    if groups and groups[0].name not in _GROUPS:
        name = groups[0].name
        raise QueryError(f"operation is not supported: 'GROUP BY' clause is not supported for search attribute {name}")
    if len(syntax.order_by) > _ORDER_MAX:
        raise QueryError(f"operation is not supported: 'ORDER BY' clause with more than {_ORDER_MAX} fields")
    order = tuple(Order(binder.ordered(operand), descending) for operand, descending in syntax.order_by)
    return Query(where, order, groups[0] if groups else None)


class _Binder:
    def __init__(self, custom: Mapping[str, int]) -> None:
        self._custom = custom

    def where(self, node: Node, negated: bool) -> Where:
        """The node, or with `negated` its opposite."""
        if isinstance(node, Not):
            return self.where(node.term, not negated)
        if isinstance(node, Both | Either):
            terms = tuple(self.where(term, negated) for term in node.terms)
            return AllOf(terms) if isinstance(node, Both) is not negated else AnyOf(terms)
        condition = self.condition(node)
        return condition.opposite() if negated else condition

    def attribute(self, operand: Operand) -> Attribute:
        """Raises QueryError when it is not the name of one."""
        if isinstance(operand, Literal):
            raise QueryError(f"invalid expression: must be a column name but was {_node_type(operand)}")
        name = operand.text
        indexed_as = SYSTEM.get(name) or PREDEFINED.get(name) or self._custom.get(name)
        if indexed_as is None:
            raise QueryError(f"invalid search attribute: {name}")
        return Attribute(name, IndexedType(indexed_as))

    def ordered(self, operand: Operand) -> Attribute:
        """Raises QueryError when there is no order in its values."""
        attribute = self.attribute(operand)
        if attribute.type in _MANY:
            raise QueryError(
                f"operation is not supported: 'ORDER BY' clause is not supported for search attribute {attribute.name}"
            )
        return attribute

    def condition(self, node: Comparison) -> Condition:
        if not node.operator:
            if isinstance(node.left, Name):
                raise QueryError("invalid expression: incomplete expression")
            raise QueryError(f"operation is not supported: expression of type {_node_type(node.left)}")
        attribute = self.attribute(node.left)
        if attribute.type in _MANY and "BETWEEN" in node.operator:
            raise _no_range(attribute)
        values = tuple(_value(attribute, operand) for operand in node.right)
        _check_operator(attribute, node, values)
        if attribute.type is IndexedType.TEXT and values:
            return _text_condition(attribute, node.operator, str(values[0]))
        return Condition(attribute, node.operator, values)


def _text_condition(attribute: Attribute, operator: str, text: str) -> Condition:
    if not text.strip():
        raise QueryError(
            f"invalid expression: no tokens found filtering on Text type search attribute {attribute.name}"
        )
    wanted = tuple(words(text))
    if len(wanted) > CONDITIONS_MAX:
        raise QueryError(f"operation is not supported: more than {CONDITIONS_MAX} words in one condition")
    return Condition(attribute, "IN" if operator == "=" else "NOT IN", wanted)


def _check_operator(attribute: Attribute, node: Comparison, values: tuple[Value, ...]) -> None:
    """Raises QueryError when the type knows no such operator."""
    operator, of = node.operator, attribute.type
    if operator in ("IS NULL", "IS NOT NULL"):
        return
    if "BETWEEN" in operator:
        if of not in _IN_ORDER:
            raise _no_range(attribute)
        return
    allowed = operator in ("=", "!=")
    if of is not IndexedType.TEXT:
        allowed = allowed or operator in ("IN", "NOT IN")
    if of not in _MANY:
        allowed = allowed or operator in ("<", "<=", ">", ">=")
    if of is IndexedType.KEYWORD and operator in ("STARTS_WITH", "NOT STARTS_WITH"):
        if not isinstance(values[0], str):
            name = node.right[0].value if isinstance(node.right[0], Literal) else ""
            raise QueryError(
                f'invalid expression: right-hand side of "{operator.lower()}" operator must be a literal string '
                f"(got: {name})"
            )
        allowed = True
    if not allowed:
        raise QueryError(
            f"operation is not supported: operator '{operator}' not supported for {TYPE_NAMES[of]} "
            f"type search attribute '{attribute.name}'"
        )


def _no_range(attribute: Attribute) -> QueryError:
    return QueryError(
        f"invalid expression: cannot do range condition on search attribute '{attribute.name}' "
        f"of type {TYPE_NAMES[attribute.type]}"
    )


def _value(attribute: Attribute, operand: Operand) -> Value:
    """The literal as a value of the attribute's type. Raises QueryError."""
    if isinstance(operand, Name):
        raise QueryError(
            "operation is not supported: column name on the right side of comparison expression "
            f'(did you forget to quote "{operand.text}"?)'
        )
    value = operand.value
    if value is None:
        raise QueryError("invalid expression: unexpected value type *sqlparser.NullVal")
    if attribute.name == _STATUS:
        return _status(value)
    if attribute.name == _DURATION:
        return _duration(attribute, value)
    of = attribute.type
    if isinstance(value, bool):
        fits = of is IndexedType.BOOL
    elif isinstance(value, str):
        fits = of in (IndexedType.TEXT, IndexedType.KEYWORD, IndexedType.KEYWORD_LIST, IndexedType.DATETIME)
    elif isinstance(value, float):
        fits = of in (IndexedType.INT, IndexedType.DOUBLE)
    else:
        fits = of in (IndexedType.INT, IndexedType.DOUBLE, IndexedType.DATETIME)
    if not fits:
        raise _wrong_type(attribute, value)
    if of is IndexedType.DATETIME and isinstance(value, str):
        moment = parse_time(value)
        if moment is None:
            raise QueryError(f"invalid expression: unable to parse datetime '{value}'")
        return moment
    return value


def _status(value: Value) -> Value:
    if isinstance(value, str):
        number = STATUSES.get(value)
        if number is None:
            raise QueryError(f"invalid expression: invalid ExecutionStatus value '{value}'")
        return number
    if isinstance(value, bool) or not isinstance(value, int):
        raise QueryError(f"invalid expression: unexpected value type {_go_type(value)} for search attribute {_STATUS}")
    return value


_CLOCK = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d)", re.ASCII)
_PARTS = re.compile(r"([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h|d))+|0)", re.ASCII)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_DURATION_LENGTH_MAX = 100
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": NS_PER_SECOND,
    "m": 60 * NS_PER_SECOND,
    "h": 3600 * NS_PER_SECOND,
    "d": 24 * 3600 * NS_PER_SECOND,
}


def _duration(attribute: Attribute, value: Value) -> Value:
    """Nanoseconds of a number, of `1h30m`, of `01:30:00`."""
    if isinstance(value, bool):
        raise _wrong_type(attribute, value)
    if isinstance(value, float):
        raise QueryError(f"invalid expression: unexpected value type float64 for search attribute {attribute.name}")
    if isinstance(value, int):
        return value
    nanoseconds = _parse_duration(value)
    if nanoseconds is None or not -(1 << 63) <= nanoseconds < 1 << 63:
        raise QueryError(f"invalid expression: invalid duration value for search attribute {attribute.name}: {value}")
    return nanoseconds


def _parse_duration(text: str) -> int | None:
    if text.isascii() and text.lstrip("+-").isdigit() and len(text) < 20:
        return int(text)
    if len(text) > _DURATION_LENGTH_MAX:  # before the patterns, one of which takes time by the square of a length
        return None
    clock = _CLOCK.fullmatch(text)
    if clock is not None and len(text) < 20:
        hours, minutes, seconds = (int(part) for part in clock.groups())
        return ((hours * 60 + minutes) * 60 + seconds) * NS_PER_SECOND
    whole = _PARTS.fullmatch(text)
    if whole is None:
        return None
    nanoseconds = sum(_exact(number, _UNITS_NS[unit]) for number, unit in _PART.findall(whole[2]))
    return -nanoseconds if whole[1] == "-" else nanoseconds


def _exact(number: str, unit_ns: int) -> int:
    whole, _, fraction = number.partition(".")
    fraction = fraction[:18]
    return int(whole or "0") * unit_ns + int(fraction or "0") * unit_ns // 10 ** len(fraction)


def _wrong_type(attribute: Attribute, value: Value) -> QueryError:
    shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
    if isinstance(value, float):
        shown = f"{value:g}"
    return QueryError(
        f"invalid expression: invalid value type for search attribute {attribute.name} "
        f"of type {TYPE_NAMES[attribute.type]}: {shown} (type: {_go_type(value)})"
    )


def _go_type(value: Value) -> str:
    if isinstance(value, bool):
        return "bool"
    return {str: "string", int: "int64", float: "float64"}[type(value)]


def _node_type(literal: Literal | Name) -> str:
    """What Temporal's parser calls such a node."""
    if isinstance(literal, Literal) and isinstance(literal.value, bool):
        return "sqlparser.BoolVal"
    return "*sqlparser.NullVal" if isinstance(literal, Literal) and literal.value is None else "*sqlparser.SQLVal"
