"""Text as PostgreSQL takes it: it has no NUL, which the wire may bring in any name.

NUL and the character after it are written as two characters each. The order of texts stays what it was, and what began
a text begins it still, so that pages and filters need not know.
"""

from __future__ import annotations

import re

_TABLES = (
    "perdure_store|execution_blocks|writers|executions|states|state_parts|current_runs|wakes|in_flight|"
    r"search_attributes|history(?:_\d+)?|tasks|messages|records|namespaces"
)
_NAMED = re.compile(rf"((?:\b(?:FROM|JOIN|INTO|UPDATE|TABLE|SEQUENCE|ON|OF|USING)|,)\s+)({_TABLES})\b(?!\.)")


def escape(text: str) -> str:
    """The text as it is stored."""
    if "\0" not in text and "\1" not in text:
        return text
    return text.replace("\1", "\1\2").replace("\0", "\1\1")


def unescape(text: str) -> str:
    """The text that was stored."""
    if "\1" not in text:
        return text
    return text.replace("\1\1", "\0").replace("\1\2", "\1")


def in_schema(sql: str, schema: str) -> str:
    """A statement with every table named with its schema: nothing depends on a session's search path."""
    quoted = '"' + schema.replace('"', '""') + '"'
    return _NAMED.sub(rf"\1{quoted}.\2", sql)
