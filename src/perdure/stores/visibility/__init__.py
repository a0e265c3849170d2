"""Finding executions: Temporal's list filter, from its text to what a store can answer.

    text --scanner--> tokens --parser--> syntax --binding--> Query (typed, NOT pushed down to the conditions)

A `Query` names attributes and values of known types and nothing else. The memory store evaluates it on
documents (`evaluation`), SQLite compiles it to parameterised SQL, and one property test holds them together.
All of it is pure.
"""

from perdure.stores.visibility.binding import bind
from perdure.stores.visibility.parser import parse
from perdure.stores.visibility.query import ALL, AllOf, AnyOf, Attribute, Condition, Order, Query, QueryError, Where

__all__ = ["ALL", "AllOf", "AnyOf", "Attribute", "Condition", "Order", "Query", "QueryError", "Where", "bind", "parse"]
