"""How an update gets in: alone, or together with the start of the workflow that it is for.

An admitted update is durable before anybody is told of it. It goes with the workflow task that is
owed already; when none is, a speculative one is scheduled for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.any_pb2 import Any
from temporalio.api.enums.v1 import ResourceExhaustedCause, ResourceExhaustedScope
from temporalio.api.errordetails.v1 import MultiOperationExecutionFailure, ResourceExhaustedFailure
from temporalio.api.failure.v1 import MultiOperationExecutionAborted
from temporalio.api.update.v1 import Request

from perdure.api import enums
from perdure.api.errors import Rejected, StatusCode
from perdure.core import pause, start, update, workflow_task
from perdure.core.commands import AdmitUpdate
from perdure.core.limits import Limits
from perdure.core.refusals import AnotherChain, invalid, not_found, workflow_completed, workflow_not_found
from perdure.core.replies import UpdateStanding
from perdure.core.state import Execution, PendingUpdate
from perdure.core.turn import Turn


def admit(turn: Turn, command: AdmitUpdate) -> UpdateStanding:
    """Take an update in, or say where the one of this id stands.

    Raises Rejected NOT_FOUND when the run is closed or another one is meant, FAILED_PRECONDITION when its
    workflow task keeps failing, RESOURCE_EXHAUSTED at a bound, INVALID_ARGUMENT.
    """
    asked = command.request
    execution = turn.execution
    if asked.workflow_execution.run_id not in ("", execution.key.run_id):
        raise workflow_not_found()
    if asked.first_execution_run_id not in ("", execution.first_run_id):
        raise AnotherChain
    request = asked.request
    check(turn.limits, request)
    return admit_request(turn, request)


def admit_request(turn: Turn, request: Request) -> UpdateStanding:
    """As `admit`, for a request that was checked and whose run is right."""
    execution = turn.execution
    update_id = request.meta.update_id
    if update.state_of(execution, update_id) != update.State.NONE:
        return standing(execution, update_id)
    if not execution.is_open:
        raise workflow_completed()
    if pause.is_paused(execution):
        raise Rejected(StatusCode.FAILED_PRECONDITION, "Workflow is paused. Cannot update the workflow.")
    task = execution.current_task
    if task is not None and task.attempt >= update.FAILING_ATTEMPT:
        raise update.not_ready("Workflow Task in failed state")
    _check_room(turn, request)
    update.TABLE.next(update.State.NONE, update.Trigger.ADMIT)
    execution.facts.updates[update_id] = PendingUpdate(request.SerializeToString())
    turn.touch()
    if not start.waits_for_first_task(execution):
        workflow_task.speculate(turn)
    return standing(execution, update_id)


def is_the_same_again(execution: Execution, request: Request) -> bool:
    """Whether an update with start was carried out already, so that it starts nothing, whatever the policies say.

    An open run knows it in any state. A closed one answers for what it completed: an update that it accepted and left
    unanswered may be asked for anew.
    """
    update_id = request.meta.update_id
    if execution.is_open:
        return update.state_of(execution, update_id) != update.State.NONE
    known = execution.updates.get(update_id)
    return known is not None and known.completed_event_id != 0


def standing(execution: Execution, update_id: str) -> UpdateStanding:
    """Where an update stands. Raises Rejected NOT_FOUND when there is none of this id."""
    known = standing_if_known(execution, update_id)
    if known is None:
        raise not_found(f'update "{update_id}" not found')
    return known


def standing_if_known(execution: Execution, update_id: str) -> UpdateStanding | None:
    """As `standing`. None: there is none of this id, or none any more: a rejection leaves nothing behind."""
    run_id = execution.key.run_id
    known = execution.updates.get(update_id)
    if known is not None:
        is_closed = known.completed_event_id != 0 or not execution.is_open
        stage = enums.UPDATE_COMPLETED if is_closed else enums.UPDATE_ACCEPTED
        return UpdateStanding(run_id, update_id, stage, known.completed_event_id)
    if update_id in execution.facts.updates:
        return UpdateStanding(run_id, update_id, enums.UPDATE_ADMITTED)
    return None


def check(limits: Limits, request: Request) -> None:
    """Raises Rejected INVALID_ARGUMENT for an update that can never be admitted."""
    if not request.HasField("meta"):
        raise invalid("Update meta is not set on request.")
    if len(request.meta.update_id) > limits.id_length:
        raise invalid("UpdateId length exceeds limit.")
    if not request.HasField("input"):
        raise invalid("Update input is not set on request.")
    if not request.input.name:
        raise invalid("Update name is not set on request.")
    if len(request.input.name) > limits.id_length:
        raise invalid("Update name length exceeds limit.")
    if request.ByteSize() > limits.blob_bytes:
        raise invalid("Blob data size exceeds limit.")


def _check_room(turn: Turn, request: Request) -> None:
    execution = turn.execution
    limits = turn.limits
    if update.in_flight(execution) >= limits.updates_in_flight:
        raise _exhausted(
            f"limit on number of concurrent in-flight updates has been reached ({limits.updates_in_flight})"
        )
    waiting = execution.facts.updates.values()
    if sum(len(pending.request) for pending in waiting) + request.ByteSize() > limits.updates_in_flight_bytes:
        raise _exhausted(
            f"limit on the size of waiting updates has been reached ({limits.updates_in_flight_bytes} bytes)"
        )
    if len(execution.updates) + len(execution.facts.updates) >= limits.updates_total:
        raise Rejected(
            StatusCode.FAILED_PRECONDITION,
            "The limit on the total number of distinct updates in this workflow has been reached "
            f"({limits.updates_total}). Make sure any duplicate updates share an Update ID so the server can "
            "deduplicate them, and consider rejecting updates that you aren't going to process.",
        )


def _exhausted(message: str) -> Rejected:
    return Rejected(
        StatusCode.RESOURCE_EXHAUSTED,
        message,
        ResourceExhaustedFailure(
            cause=ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT,
            scope=ResourceExhaustedScope.RESOURCE_EXHAUSTED_SCOPE_NAMESPACE,
        ),
    )


def multi_operation_failure(refusals: Sequence[Rejected | None]) -> Rejected:
    """One of several operations was refused (None: it was not tried), so none was done. The code is the refusal's."""
    detail = MultiOperationExecutionFailure()
    code = StatusCode.INTERNAL
    for refusal in refusals:
        if refusal is None:
            status = detail.statuses.add(code=StatusCode.ABORTED, message="Operation was aborted.")
            status.details.append(_packed(MultiOperationExecutionAborted()))
            continue
        code = refusal.code
        status = detail.statuses.add(code=refusal.code, message=refusal.outside)
        if refusal.detail is not None:
            status.details.append(_packed(refusal.detail))
    return Rejected(code, "Update-with-Start could not be executed.", detail)


def _packed(message: object) -> Any:
    packed = Any()
    packed.Pack(message)  # pyright: ignore[reportArgumentType] - any protobuf message
    return packed
