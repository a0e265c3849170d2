"""A transactional attempt: run where the store writes, and complete in the same transaction.

The store calls the function whenever its transaction has come, which may be more than once: after a
lost race, or a full disk, what it wrote was rolled back, so running it again is running it for the first time.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from temporalio.api.workflowservice.v1 import RespondActivityTaskCompletedRequest

from perdure.api.errors import Rejected
from perdure.sdk import errors
from perdure.sdk.activity import current_attempt
from perdure.sdk.connection.protocol import Connection, TransactionalConnection
from perdure.sdk.worker.attempt import Attempt, Stop
from perdure.sdk.worker.delivery import deliver
from perdure.sdk.worker.raised import Outcome, Raised, raised


async def run_in_transaction(
    connection: Connection, attempt: Attempt, identity: str, run: Callable[[Attempt, Any], Outcome]
) -> Outcome | None:
    """Run and complete; None: it is answered. Otherwise what there is to tell, with nothing of it kept.

    Args:
        run: runs the function with the transaction; must not raise.
    """
    name = attempt.definition.name
    if not isinstance(connection, TransactionalConnection):
        unavailable = errors.ApplicationError(
            f"activity {name} is transactional: it needs the engine in this process, Engine('sqlite:///...') or "
            "Engine('postgresql://...'), for a server cannot lend its transaction; give it an idempotency key instead "
            "(perdure.idempotency)",
            type="TransactionUnavailable",
            non_retryable=True,
        )
        return raised(unavailable, attempt.converter)
    task = attempt.task
    request = RespondActivityTaskCompletedRequest(
        task_token=task.task_token, identity=identity, namespace=attempt.info.namespace
    )
    outcome: Outcome | None = None

    def work(transaction: Any) -> bool:
        nonlocal outcome
        request.ClearField("result")
        if attempt.stop in (Stop.GONE, Stop.TIMED_OUT):
            outcome = raised(errors.CancelledError(attempt.stop.value), attempt.converter)
            return False
        context = contextvars.copy_context() if attempt.context is None else attempt.context.copy()
        outcome = context.run(_run, run, attempt, transaction)
        if isinstance(outcome, Raised):
            return False
        request.result.payloads.extend(outcome)
        return True

    async def send(request: RespondActivityTaskCompletedRequest) -> bool:
        return await connection.complete_activity_in_transaction(request, work)

    try:
        kept = await deliver(send, request, lambda: f"the result of transactional activity {name}")
    except Rejected as rejected:
        text = f"the transaction was refused: {rejected.message}"
        return raised(errors.ApplicationError(text, type=rejected.code.name, non_retryable=True), attempt.converter)
    return outcome if kept is False else None


def _run(run: Callable[[Attempt, Any], Outcome], attempt: Attempt, transaction: Any) -> Outcome:
    current_attempt.set(attempt if attempt.face is None else attempt.face)
    return run(attempt, transaction)
