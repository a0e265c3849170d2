"""Events for those who need them: dispatched tasks and readers of history.

The newest events of a cached execution are in its mailbox's tail and cost nothing; the others are
read from the store. An activity's task needs its scheduled event alone: when that has left the tail
the batch around it is decoded once and kept a while, for its neighbours are usually wanted as well.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from temporalio.api.history.v1 import HistoryEvent

from perdure.api.errors import Rejected, StatusCode
from perdure.api.history import decode_batch
from perdure.core.names import ExecutionKey
from perdure.engine.deciding.mailboxes import Mailboxes
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.faults import as_rejected
from perdure.engine.node.metrics import Metrics
from perdure.stores.api import Batch, Store, StoreError


class Histories:
    """See the module's text. Every read raises Rejected UNAVAILABLE when the store cannot serve."""

    def __init__(self, store: Store, config: EngineConfig, metrics: Metrics, mailboxes: Mailboxes) -> None:
        self._store = store
        self._page_bytes = config.history_page_bytes
        self._page_events = config.history_page_events
        self._decoded_max = config.decoded_bytes_max
        self._metrics = metrics
        self._mailboxes = mailboxes
        self._decoded: OrderedDict[tuple[str, int], tuple[Sequence[HistoryEvent], int]] = OrderedDict()
        """(run, first event id) -> events of a batch, and its size."""
        self._decoded_bytes = 0

    def recent(self, key: ExecutionKey, first_event_id: int, last_event_id: int) -> list[HistoryEvent] | None:
        """Durable events from memory, both ends included, or None when not all are there."""
        mailbox = self._mailboxes.peek(key.namespace, key.workflow_id)
        return None if mailbox is None else mailbox.recent(key.run_id, first_event_id, last_event_id)

    async def page(self, key: ExecutionKey, first_event_id: int, last_event_id: int) -> Sequence[HistoryEvent]:
        """Events from `first_event_id` on, up to `last_event_id` or about a page, by bytes and number; at least one.

        Raises Rejected DATA_LOSS when the store does not hold what it should.
        """
        recent = self.recent(key, first_event_id, last_event_id)
        if recent is not None:
            return recent
        batches = await self._read(key, first_event_id, self._page_bytes)
        end = first_event_id + self._page_events
        events = decode_batch(b"".join(batch.data for batch in batches if batch.first_event_id < end))
        skip = first_event_id - events[0].event_id
        return events[skip : skip + last_event_id - first_event_id + 1]

    async def event(self, key: ExecutionKey, event_id: int) -> HistoryEvent:
        """One event. Raises Rejected DATA_LOSS when the store does not hold it."""
        recent = self.recent(key, event_id, event_id)
        if recent is not None:
            return recent[0]
        for (run_id, first_event_id), (events, _) in self._decoded.items():
            if run_id == key.run_id and first_event_id <= event_id < first_event_id + len(events):
                self._decoded.move_to_end((run_id, first_event_id))
                return events[event_id - first_event_id]
        batch = (await self._read(key, event_id, 1))[0]
        events = decode_batch(batch.data)
        self._keep(key, batch, events)
        return events[event_id - batch.first_event_id]

    async def _read(self, key: ExecutionKey, first_event_id: int, limit_bytes: int) -> Sequence[Batch]:
        try:
            batches = await self._store.history(key, first_event_id, limit_bytes)
        except StoreError as error:
            self._metrics.store_errors += 1
            raise as_rejected(error) from error
        if not batches:
            raise Rejected(
                StatusCode.DATA_LOSS, f"Workflow {key.workflow_id!r} lacks event {first_event_id} of run {key.run_id}."
            )
        return batches

    def _keep(self, key: ExecutionKey, batch: Batch, events: Sequence[HistoryEvent]) -> None:
        if (key.run_id, batch.first_event_id) in self._decoded:  # two asked at once
            return
        self._decoded[key.run_id, batch.first_event_id] = events, len(batch.data)
        self._decoded_bytes += len(batch.data)
        while self._decoded_bytes > self._decoded_max:
            _, (_, size) = self._decoded.popitem(last=False)
            self._decoded_bytes -= size
