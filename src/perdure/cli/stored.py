"""The executions of a store's file, page by page, for commands that go through all of them."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.stores.reading import StoreFile
from perdure.stores.summary import Summary

__all__ = ["StoreFile", "count_open", "open_executions"]

_PAGE = 1000


def open_executions(file: StoreFile, namespace: str, workflow_type: str | None) -> Iterator[Summary]:
    """Every open execution, in order of workflow id; a page of them is in memory."""
    after = None
    while True:
        page = file.executions(namespace, open_only=True, workflow_type=workflow_type, after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].key


def count_open(file: StoreFile, namespace: str, workflow_type: str | None) -> int:
    """How many there are now."""
    return sum(1 for _ in open_executions(file, namespace, workflow_type))
