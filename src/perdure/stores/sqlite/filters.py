"""List filters on SQLite: `stores/sql/filters.py` in its dialect, and how a page of places comes back."""

from __future__ import annotations

import json

from perdure.core.search_attributes import IndexedType, Value
from perdure.stores.sql import filters
from perdure.stores.sql.dialects import SQLITE, Statement
from perdure.stores.visibility.evaluation import Cursor
from perdure.stores.visibility.query import Query


def find(namespace: str, query: Query, after: Cursor | None, limit: int) -> list[Statement]:
    """See `filters.find`; each statement gives one row, a JSON array of cursors."""
    return filters.find(SQLITE, namespace, query, after, limit)


def count(namespace: str, query: Query) -> Statement:
    """See `filters.count`."""
    return filters.count(SQLITE, namespace, query)


def cursors(query: Query, text: str) -> list[Cursor]:
    """What the row of a statement of `find` says."""
    doubles = [term.attribute.type is IndexedType.DOUBLE for term in query.order]
    rows: list[list[Value | None]] = json.loads(text)
    if not any(doubles):
        return [tuple(row) for row in rows]
    return [
        tuple(
            float(value) if is_double and value is not None else value
            for value, is_double in zip(row, (*doubles, False), strict=True)
        )
        for row in rows
    ]
