"""`engine.activities`: what the far end of a long wait does to an activity, and what an operator does.

    engine.activities.complete("paid", workflow_id="order-1001", activity_id="5")

The operator's part is in `activity_controls.py`.
"""

from __future__ import annotations

from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.workflowservice import v1 as service

from perdure.sdk.client.activity_controls import ActivityControls
from perdure.sdk.client.blocking import Blocking, blocking
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.convert import failure_of
from perdure.sdk.option_names import lists_options
from perdure.sdk.texts import class_name


@lists_options
@sends_texts
class AsyncActivities(ActivityControls):
    """Activities that have not ended, steered from outside of their workers. Every method may raise EngineError."""

    async def complete(
        self,
        result: Any = None,
        *,
        token: bytes | None = None,
        workflow_id: str | None = None,
        activity_id: str | None = None,
        run_id: str | None = None,
    ) -> None:
        """End an activity that left with `activity.raise_complete_async()`, well.

        Args:
            result: what the workflow gets.
            token: `activity.info().task_token`; or else:
            workflow_id, activity_id, run_id: the activity; run_id None: the current run.

        Raises:
            WorkflowNotFoundError: nobody waits for it: the attempt ended, timed out, or its workflow closed.
            PayloadError: the result cannot be serialised.
            ValueError: neither a token nor ids were given.
        """
        reach = self._reach
        payloads = reach.converter.to_payloads((result,), "the result of an activity")
        if token is not None:
            request = service.RespondActivityTaskCompletedRequest(
                task_token=token, namespace=reach.namespace, identity=reach.identity
            )
            request.result.payloads.extend(payloads)
            await reach.ask(reach.connection.respond_activity_task_completed, request, "completing an activity")
            return
        by_id = service.RespondActivityTaskCompletedByIdRequest(namespace=reach.namespace, identity=reach.identity)
        by_id.workflow_id, by_id.activity_id = _ids(workflow_id, activity_id)
        by_id.run_id = run_id or ""
        by_id.result.payloads.extend(payloads)
        what = f"completing activity {activity_id!r} of workflow {workflow_id!r}"
        await reach.ask(reach.connection.respond_activity_task_completed_by_id, by_id, what)

    async def fail(
        self,
        error: BaseException,
        *,
        token: bytes | None = None,
        workflow_id: str | None = None,
        activity_id: str | None = None,
        run_id: str | None = None,
    ) -> None:
        """End an attempt of such an activity badly: it is retried as its policy says. Raises as `complete`."""
        if not isinstance(error, BaseException):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"error must be an exception, not {class_name(error)}: write ApplicationError(...)")
        reach = self._reach
        failure = failure_of(error, reach.converter)
        if token is not None:
            request = service.RespondActivityTaskFailedRequest(
                task_token=token, namespace=reach.namespace, identity=reach.identity, failure=failure
            )
            await reach.ask(reach.connection.respond_activity_task_failed, request, "failing an activity")
            return
        by_id = service.RespondActivityTaskFailedByIdRequest(
            namespace=reach.namespace, identity=reach.identity, failure=failure
        )
        by_id.workflow_id, by_id.activity_id = _ids(workflow_id, activity_id)
        by_id.run_id = run_id or ""
        what = f"failing activity {activity_id!r} of workflow {workflow_id!r}"
        await reach.ask(reach.connection.respond_activity_task_failed_by_id, by_id, what)

    async def heartbeat(
        self,
        *details: Any,
        token: bytes | None = None,
        workflow_id: str | None = None,
        activity_id: str | None = None,
        run_id: str | None = None,
    ) -> bool:
        """Say that such an activity is alive. True: it was asked to stop. Raises as `complete`."""
        reach = self._reach
        payloads: list[Payload] = reach.converter.to_payloads(details, "heartbeat details")
        if token is not None:
            request = service.RecordActivityTaskHeartbeatRequest(
                task_token=token, namespace=reach.namespace, identity=reach.identity
            )
            request.details.payloads.extend(payloads)
            response = await reach.ask(reach.connection.record_activity_task_heartbeat, request, "a heartbeat")
            return response.cancel_requested
        by_id = service.RecordActivityTaskHeartbeatByIdRequest(namespace=reach.namespace, identity=reach.identity)
        by_id.workflow_id, by_id.activity_id = _ids(workflow_id, activity_id)
        by_id.run_id = run_id or ""
        by_id.details.payloads.extend(payloads)
        answer = await reach.ask(reach.connection.record_activity_task_heartbeat_by_id, by_id, "a heartbeat")
        return answer.cancel_requested


def _ids(workflow_id: str | None, activity_id: str | None) -> tuple[str, str]:
    if workflow_id is None or activity_id is None:
        raise ValueError("an activity is named by its token, or by workflow_id and activity_id")
    return workflow_id, activity_id


@lists_options
class Activities(Blocking[AsyncActivities]):
    """`AsyncActivities` for plain code: the same methods, blocking."""

    complete = blocking(AsyncActivities.complete)
    fail = blocking(AsyncActivities.fail)
    heartbeat = blocking(AsyncActivities.heartbeat)
    pause = blocking(AsyncActivities.pause)
    unpause = blocking(AsyncActivities.unpause)
    reset = blocking(AsyncActivities.reset)
    update_options = blocking(AsyncActivities.update_options)
