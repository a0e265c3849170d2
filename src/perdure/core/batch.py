"""A batch operation: one thing done to many executions, at a rate, and how far it has come.

The executions are those that a query finds, the newest first, or those of a list. Progress is a place in that list,
stored after each page; a page that a crash cut short is done again, and every operation bears that (`request_id`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from temporalio.api.enums.v1 import BatchOperationState, BatchOperationType
from temporalio.api.workflowservice.v1 import StartBatchOperationRequest

from perdure.api.bounds import DURATION_MAX_NS
from perdure.api.times import NS_PER_SECOND, later
from perdure.core.principal import ANONYMOUS, Principal

RUNNING = int(BatchOperationState.BATCH_OPERATION_STATE_RUNNING)
COMPLETED = int(BatchOperationState.BATCH_OPERATION_STATE_COMPLETED)
FAILED = int(BatchOperationState.BATCH_OPERATION_STATE_FAILED)

PAGE_MAX = 100
"""Executions in one go: what is stored between two of them is where to go on."""

TYPES: dict[str, int] = {
    "termination_operation": BatchOperationType.BATCH_OPERATION_TYPE_TERMINATE_WORKFLOW,
    "signal_operation": BatchOperationType.BATCH_OPERATION_TYPE_SIGNAL_WORKFLOW,
    "cancellation_operation": BatchOperationType.BATCH_OPERATION_TYPE_CANCEL_WORKFLOW,
    "deletion_operation": BatchOperationType.BATCH_OPERATION_TYPE_DELETE_WORKFLOW,
    "reset_operation": BatchOperationType.BATCH_OPERATION_TYPE_RESET_WORKFLOW,
    "update_workflow_options_operation": BatchOperationType.BATCH_OPERATION_TYPE_UPDATE_WORKFLOW_EXECUTION_OPTIONS,
    "unpause_activities_operation": BatchOperationType.BATCH_OPERATION_TYPE_UNPAUSE_ACTIVITY,
    "reset_activities_operation": BatchOperationType.BATCH_OPERATION_TYPE_RESET_ACTIVITY,
    "update_activity_options_operation": BatchOperationType.BATCH_OPERATION_TYPE_UPDATE_ACTIVITY_OPTIONS,
}
"""Field of the request -> BatchOperationType."""

ANY_STATUS = frozenset({"deletion_operation", "reset_operation"})
"""Operations that also mean closed executions; of the others a query finds open ones alone."""


class Place(msgspec.Struct, array_like=True):
    """Where a batch goes on."""

    cursor: list[str | int | float | bool | None] | None = None
    """Of a query's list: behind this."""
    index: int = 0
    """Of a list of executions: from here."""


class Batch(msgspec.Struct, array_like=True):
    """The state of a batch. Times in nanoseconds since the epoch. New fields go to the END and have a default."""

    uid: str
    request: bytes
    """Serialised `StartBatchOperationRequest`."""
    started_at_ns: int
    total: int
    state: int = RUNNING
    closed_at_ns: int = 0
    complete: int = 0
    failed: int = 0
    place: Place = msgspec.field(default_factory=Place)
    stop_reason: str = ""
    principal: Principal = ANONYMOUS
    """Who made it, and for whom it acts."""

    @property
    def is_running(self) -> bool:
        return self.state == RUNNING


def operation_of(request: StartBatchOperationRequest) -> str:
    """The field that says what is to be done; empty when none does."""
    return request.WhichOneof("operation") or ""


def identity_of(request: StartBatchOperationRequest) -> str:
    """Who asked."""
    operation = operation_of(request)
    return str(getattr(getattr(request, operation), "identity", "")) if operation else ""


def page_size(rate: float) -> int:
    """Executions of one go, so that it takes about half a second at this rate a second."""
    return max(1, min(PAGE_MAX, int(rate / 2)))


def request_id(batch: Batch, run_id: str) -> str:
    """The same for the same execution, however often its page is done."""
    return f"{batch.uid}:{run_id}"


def proceed(batch: Batch, failures: Sequence[bool], place: Place | None, rate: float, now_ns: int) -> int | None:
    """A page was done: of each execution whether it failed, and where to go on, None: it was the last.

    Returns when to go on.
    """
    batch.failed += sum(failures)
    batch.complete += len(failures) - sum(failures)
    batch.total = max(batch.total, batch.complete + batch.failed)
    if place is None:
        close(batch, COMPLETED, now_ns)
        return None
    batch.place = place
    return later(now_ns, int(min(len(failures) * NS_PER_SECOND / rate, DURATION_MAX_NS)))


def close(batch: Batch, state: int, now_ns: int, reason: str = "") -> None:
    """The batch is over. What was done stays done."""
    batch.state, batch.closed_at_ns, batch.stop_reason = state, now_ns, reason


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Batch)


def encode(batch: Batch) -> bytes:
    """What the record holds."""
    return _encoder.encode(batch)


def decode(data: bytes) -> Batch:
    """Raises msgspec.DecodeError when the bytes are no such state."""
    return _decoder.decode(data)
