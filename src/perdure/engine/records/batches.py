"""Carries out batch operations: a page of executions, what became of it stored, then the next page.

A batch is a record with a deadline; the `RecordWaker` calls when it is time for the next page, so a rate costs no
task that sleeps, and a restart goes on where the last page ended. What one operation is belongs to the front door,
which says it when it is made (`Front`): a batch does what its maker would do as a client, through the same checks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from temporalio.api.errordetails.v1 import (
    NotFoundFailure,
    ResourceExhaustedFailure,
    WorkflowExecutionAlreadyStartedFailure,
)
from temporalio.api.workflowservice.v1 import StartBatchOperationRequest

from perdure.api.errors import Rejected, StatusCode
from perdure.api.status import OPEN
from perdure.core import batch as law
from perdure.core.batch import Batch, Place
from perdure.core.principal import ANONYMOUS, Principal
from perdure.core.search_attributes import IndexedType
from perdure.engine.duties.record_waker import RecordWaker
from perdure.engine.namespaces import Namespaces
from perdure.engine.node.clock import Clock
from perdure.engine.node.config import EngineConfig
from perdure.engine.node.faults import Faults, is_passing, reason_of
from perdure.engine.node.pace import Pace
from perdure.engine.node.signal import Signal
from perdure.engine.records.front import Front, Perform
from perdure.engine.records.records import Records
from perdure.stores.api import Damaged, Page, Record, RecordChange, Store
from perdure.stores.visibility import AllOf, Attribute, Condition, Order, Query, QueryError, Where, bind, parse

_log = logging.getLogger(__name__)

KIND = "batch"
_STATUS = Attribute("ExecutionStatus", IndexedType.KEYWORD)
_START_TIME = Attribute("StartTime", IndexedType.DATETIME)


class Batches:
    """See the module's text. `pages` is emitted for every page that was done."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: EngineConfig,
        records: Records,
        namespaces: Namespaces,
        new_id: Callable[[], str],
        waker: RecordWaker,
        front: Front,
    ) -> None:
        self._store = store
        self._now_ns = clock.now_ns
        self._config = config
        self._records = records
        self._faults = Faults(_log)
        self._namespaces = namespaces
        self._new_id = new_id
        self._front = front
        self.pages = Signal()
        waker.register(KIND, self._wake, self._park)

    # --- what is asked --------------------------------------------------------------------------

    async def start(self, request: StartBatchOperationRequest, principal: Principal = ANONYMOUS) -> None:
        """Store it and begin: its operations are done for the principal.

        Raises Rejected ALREADY_EXISTS when there is one of that id, RESOURCE_EXHAUSTED when too many run,
        INVALID_ARGUMENT for a query that is not understood, UNAVAILABLE.
        """
        total = len(request.executions) or len(request.target_executions)
        if request.visibility_query:
            counts = await self._records.stored(self._store.count_executions(request.namespace, self._query(request)))
            total = sum(counts.values())
        if await self._running(request.namespace) >= self._config.batches_max:
            raise Rejected(
                StatusCode.RESOURCE_EXHAUSTED,
                "Max concurrent batch operations is reached",
                ResourceExhaustedFailure(),
            )
        now_ns = self._now_ns()
        batch = Batch(self._new_id(), request.SerializeToString(), now_ns, total, principal=principal)
        change = RecordChange(KIND, request.namespace, request.job_id, 0, law.encode(batch), now_ns)
        if not await self._records.put(change):
            raise Rejected(
                StatusCode.ALREADY_EXISTS,
                f"batch operation {request.job_id!r} exists already",
                WorkflowExecutionAlreadyStartedFailure(),
            )

    async def get(self, namespace: str, job_id: str) -> Batch:
        """Raises Rejected NOT_FOUND, UNAVAILABLE."""
        return _shown(_there(job_id, await self._records.get(KIND, namespace, job_id)))

    async def page(self, namespace: str, after_id: str, limit: int) -> Page[tuple[str, Batch]]:
        """Batches in order of their ids, past `after_id`. Raises Rejected UNAVAILABLE."""
        records = await self._records.stored(self._store.records(KIND, namespace, after_id, limit))
        page = Page((record.name, _shown(record)) for record in records)
        page.more = records.more
        return page

    async def _running(self, namespace: str) -> int:
        """How many of a namespace's are not over."""
        count, after_id, pace = 0, "", Pace()
        while True:
            page = await self.page(namespace, after_id, _ALL)
            count += sum(batch.is_running for _, batch in page)
            if not page.more:
                return count
            after_id = page[-1][0]
            await pace.rest()

    async def stop(self, namespace: str, job_id: str, reason: str) -> None:
        """Do no further page. Raises Rejected NOT_FOUND when it does not run, UNAVAILABLE."""

        def end(stored: Record | None) -> tuple[RecordChange | None, None]:
            record = _there(job_id, stored)
            batch = _shown(record)
            if not batch.is_running:
                raise Rejected(StatusCode.NOT_FOUND, f"batch operation {job_id!r} has ended", NotFoundFailure())
            law.close(batch, law.FAILED, self._now_ns(), reason)
            return record.change(law.encode(batch), self._kept_until_ns(namespace, batch)), None

        await self._records.change(KIND, namespace, job_id, end)

    # --- carrying out ---------------------------------------------------------------------------

    async def _replace(self, record: Record, batch: Batch, wake_at_ns: int | None) -> None:
        """If it was stopped, or done by another engine meanwhile, that holds."""
        if not batch.is_running:
            wake_at_ns = self._kept_until_ns(record.namespace, batch)
        await self._records.put(record.change(law.encode(batch), wake_at_ns))

    def _kept_until_ns(self, namespace: str, batch: Batch) -> int:
        """One that is over is kept as long as its namespace keeps executions."""
        return batch.closed_at_ns + self._namespaces.get(namespace).retention_ns

    async def _wake(self, record: Record) -> None:
        """Do the next page; a batch that is over and was kept long enough is forgotten."""
        batch = _read(record)
        if not batch.is_running:
            await self._records.put(record.change(None))
            return
        perform = self._front.perform
        if perform is None:
            raise Rejected(StatusCode.UNAVAILABLE, "Nobody has said yet how operations are done.")
        request = StartBatchOperationRequest.FromString(batch.request)
        rate = request.max_operations_per_second or self._config.batch_rate
        try:
            targets, place = await self._targets(request, batch.place, law.page_size(rate))
        except Rejected as refusal:
            if is_passing(refusal):
                raise
            law.close(batch, law.FAILED, self._now_ns(), refusal.message)  # an attribute of its query is gone
            await self._replace(record, batch, None)
            return
        failures = await self._do(perform, request, batch, targets)
        wake_at_ns = law.proceed(batch, failures, place, rate, self._now_ns())
        await self._replace(record, batch, wake_at_ns)
        self.pages.emit()

    async def _park(self, record: Record, reason: str) -> None:
        """End a batch that cannot be carried out, with the reason. Raises Rejected UNAVAILABLE."""

        def mark(data: bytes) -> tuple[bytes, int]:
            batch = law.decode(data)
            law.close(batch, law.FAILED, self._now_ns(), f"cannot be carried out: {reason}")
            return law.encode(batch), self._kept_until_ns(record.namespace, batch)

        await self._records.park(KIND, record.namespace, record.name, reason, mark)

    async def _targets(
        self, request: StartBatchOperationRequest, place: Place, limit: int
    ) -> tuple[list[tuple[str, str]], Place | None]:
        """Workflow and run ids of the next page, and where the one after it begins."""
        if not request.visibility_query:
            listed = [(one.workflow_id, one.run_id) for one in request.executions]
            listed += [(one.business_id, one.run_id) for one in request.target_executions]
            end = place.index + limit
            return listed[place.index : end], Place(index=end) if end < len(listed) else None
        cursor = None if place.cursor is None else tuple(place.cursor)
        query = Query(self._query(request).where, (Order(_START_TIME, descending=True),))
        found = await self._records.stored(self._store.find_executions(request.namespace, query, cursor, limit))
        keys = [(one.execution.key.workflow_id, one.execution.key.run_id) for one in found]
        return keys, Place(list(found[-1].cursor)) if found and found.more else None

    def _query(self, request: StartBatchOperationRequest) -> Query:
        """What its text means, of open executions alone unless it is about closed ones too."""
        custom = self._namespaces.get(request.namespace).search_attributes
        try:
            query = bind(parse(request.visibility_query), custom)
        except QueryError as error:
            raise Rejected(StatusCode.INVALID_ARGUMENT, f"invalid visibility query: {error}") from error
        if query.order or query.group_by:
            raise Rejected(StatusCode.INVALID_ARGUMENT, "invalid visibility query: only conditions are allowed")
        where: Where = query.where
        if law.operation_of(request) not in law.ANY_STATUS:
            where = AllOf((where, Condition(_STATUS, "IN", OPEN)))
        return Query(where)

    async def _do(
        self, perform: Perform, request: StartBatchOperationRequest, batch: Batch, targets: Sequence[tuple[str, str]]
    ) -> list[bool]:
        """Of each whether it failed. Raises Rejected when the engine is in trouble: the page is done again."""

        async def one(workflow_id: str, run_id: str) -> bool:
            try:
                request_id = law.request_id(batch, run_id or workflow_id)
                await perform(batch.principal, request, workflow_id, run_id, request_id)
            except Exception as error:  # one that cannot be read must not keep all others waiting: it has failed
                if is_passing(error):
                    raise
                if isinstance(error, Rejected) and error.code is StatusCode.NOT_FOUND:
                    return False  # it is gone, or over: there is nothing left to do
                if isinstance(error, Rejected):
                    text = "batch operation %r of %s: %r failed: %s"
                    _log.warning(text, request.job_id, batch.principal, workflow_id, error)
                else:
                    self._faults.tell(error, "batch operation %r: %r failed", request.job_id, workflow_id)
                return True
            return False

        outcomes = await asyncio.gather(*[one(*target) for target in targets], return_exceptions=True)
        failures: list[bool] = []
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            failures.append(outcome)
        return failures


def _there(job_id: str, record: Record | None) -> Record:
    """Raises Rejected NOT_FOUND."""
    if record is None:
        raise Rejected(StatusCode.NOT_FOUND, f"batch operation {job_id!r} not found", NotFoundFailure())
    return record


def _read(record: Record) -> Batch:
    """Raises Damaged, and msgspec.DecodeError for what is no batch."""
    if record.damage:
        raise Damaged(record.damage)
    return law.decode(record.data)


def _shown(record: Record) -> Batch:
    """As it is, or what stands for one that cannot be read: it has failed."""
    try:
        return _read(record)
    except Exception as error:
        return Batch("", b"", 0, 0, law.FAILED, stop_reason=f"cannot be read: {reason_of(error)}")


_ALL = 1_000_000
