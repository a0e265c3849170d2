"""Reading a database's store from outside, as `reading` does of a file: for commands, for checks, for people.

Nothing here writes, makes tables, or asks an engine: what it tells is what is stored.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from temporalio.api.history.v1 import HistoryEvent

from perdure.core.execution import Execution
from perdure.core.names import ExecutionKey, QueueName
from perdure.stores.api import Reference
from perdure.stores.checking import StoreSight
from perdure.stores.only_reads import only_reads
from perdure.stores.open import open_store, shown_url
from perdure.stores.reading import StoreFile, summary_of
from perdure.stores.summary import Summary
from perdure.stores.visibility import bind, parse
from perdure.stores.visibility.query import ALL, Query

_PAGE = 1000


def reading(url: str) -> StoreFile | StoreDatabase:
    """What a URL names, opened for reading; a plain path is a file. Use it as a context manager. Raises StoreError."""
    is_file = "://" not in url or urlsplit(url).scheme == "sqlite"
    return StoreFile(url) if is_file else StoreDatabase(url)


class StoreDatabase:
    """A store in a database, opened for reading; use as a context manager. Raises StoreError throughout.

    It blocks the thread that asks, which must not be an event loop's.
    """

    def __init__(self, url: str) -> None:
        self._store = only_reads(open_store(url, creates=False), shown_url(url))
        self._sight = StoreSight(self._store)
        self._runner = asyncio.Runner()
        try:
            self._runner.run(self._store.open())
        except BaseException:
            self._runner.close()
            raise

    def __enter__(self) -> StoreDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._store.close())
        self._runner.close()

    def load(self, workflow_id: str, run_id: str | None = None, namespace: str = "default") -> Execution | None:
        """The stored state of a run, the newest one of its workflow id when `run_id` is None."""
        return self._runner.run(self._store.load([Reference(namespace, workflow_id, run_id)]))[0]

    def history(self, key: ExecutionKey) -> list[HistoryEvent]:
        """Every event of a run, in order."""
        return list(self._runner.run(self._sight.events(key)))

    def executions(self, namespace: str = "default", *, open_only: bool | None = None) -> Sequence[Summary]:
        """Summaries in order of workflow id and run id."""
        query = {None: "", True: "CloseTime IS NULL", False: "CloseTime IS NOT NULL"}[open_only]
        return sorted(self._found(namespace, query), key=lambda summary: summary.key)

    def open_executions(self, namespace: str, workflow_type: str | None) -> Iterator[Summary]:
        """See `StoreFile.open_executions`; the newest first."""
        of_type = "" if workflow_type is None else " AND WorkflowType = '{}'".format(workflow_type.replace("'", "''"))
        return self._found(namespace, f"CloseTime IS NULL{of_type}")

    def _found(self, namespace: str, text: str) -> Iterator[Summary]:
        query: Query = bind(parse(text), {}) if text else ALL
        after = None
        while True:
            page = self._runner.run(self._store.find_executions(namespace, query, after, _PAGE))
            yield from (summary_of(found.execution) for found in page)
            if not page.more:
                return
            after = page[-1].cursor

    def waiting_tasks(self) -> dict[QueueName, int]:
        """How many tasks wait on each queue for a worker."""
        return Counter(self._runner.run(self._counted()))

    async def _counted(self) -> dict[QueueName, int]:
        return {queue: await self._store.count_tasks(queue) for queue in await self._store.queues()}
