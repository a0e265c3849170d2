"""What a list filter asks for, once its names and values are known to make sense.

There is no NOT in it: NOT is pushed down to the conditions, each of which has its opposite. So a condition
simply holds or does not, and what SQL calls unknown (an attribute that an execution lacks) is a
condition that does not hold, whichever way it was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from perdure.core.search_attributes import IndexedType, Value


class QueryError(Exception):
    """A filter that is not understood or not allowed; the message is Temporal's."""


@dataclass(slots=True, frozen=True)
class Attribute:
    """A search attribute: a fact of the run, or what the run says of itself."""

    name: str
    type: IndexedType


_OPPOSITES = {
    "=": "!=",
    "<": ">=",
    ">": "<=",
    "IN": "NOT IN",
    "BETWEEN": "NOT BETWEEN",
    "STARTS_WITH": "NOT STARTS_WITH",
    "IS NULL": "IS NOT NULL",
}
OPPOSITES: Mapping[str, str] = {**_OPPOSITES, **{opposite: operator for operator, opposite in _OPPOSITES.items()}}
"""Operators and what they mean behind a NOT, where the attribute is there at all."""


@dataclass(slots=True, frozen=True)
class Condition:
    """One comparison. Times and durations in nanoseconds, a status by its number, a text by its words.

    Of a list and of a text `=` and `IN` ask whether one of the values is among its own, and their opposites
    hold for executions without the attribute too; every other condition fails when there is no value.
    """

    attribute: Attribute
    operator: str
    """A key of `OPPOSITES`."""
    values: tuple[Value, ...] = ()

    def opposite(self) -> Condition:
        """What holds exactly when this does not, for executions that have the attribute."""
        return Condition(self.attribute, OPPOSITES[self.operator], self.values)

    @property
    def is_of_many(self) -> bool:
        """Whether the attribute may have several values."""
        return self.attribute.type in (IndexedType.KEYWORD_LIST, IndexedType.TEXT)


@dataclass(slots=True, frozen=True)
class AllOf:
    """Every one of the terms holds."""

    terms: tuple[Where, ...]


@dataclass(slots=True, frozen=True)
class AnyOf:
    """One of the terms holds, or several."""

    terms: tuple[Where, ...]


Where = Condition | AllOf | AnyOf
EVERYTHING = AllOf(())


@dataclass(slots=True, frozen=True)
class Order:
    """One term of ORDER BY. Executions without the attribute come last, whichever way."""

    attribute: Attribute
    descending: bool = False


@dataclass(slots=True, frozen=True)
class Query:
    """A whole list filter.

    Without `order`: those that are open before those that are closed, the newest first; so does Temporal.
    """

    where: Where = EVERYTHING
    order: tuple[Order, ...] = ()
    group_by: Attribute | None = None

    def required(self) -> Iterator[Condition]:
        """Conditions that each execution found fulfils, whatever the others say."""
        terms = [self.where]
        while terms:
            term = terms.pop()
            if isinstance(term, Condition):
                yield term
            elif isinstance(term, AllOf):
                terms.extend(term.terms)


def conditions(where: Where) -> int:
    """How many conditions there are, each of several values counted."""
    return max(1, len(where.values)) if isinstance(where, Condition) else sum(conditions(term) for term in where.terms)


ALL = Query()
"""Everything there is."""
