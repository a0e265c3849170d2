"""What an operator does to activities that have not ended: pause, unpause, reset, other options.

An activity is named by its id within the run (`engine.get(id).describe().pending_activities` lists them), or by the
function decorated with @activity, which means all pending calls of it. None of it enters history.
"""

from __future__ import annotations

from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice import v1 as service

from perdure.sdk.client.calls import Reach
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.declare.definitions import ActivityDefinition, AnyActivity
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration, Retry, duration_message, positive_duration

Which = str | AnyActivity
"""The id of one call, or the activity whose pending calls are meant."""


@lists_options
@sends_texts
class ActivityControls:
    """Part of `AsyncActivities`. Each raises WorkflowNotFoundError: the run is closed, or has no such activity."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def pause(self, id: str, activity: Which, reason: str = "", *, run_id: str | None = None) -> None:
        """Let no further attempt begin; an attempt that runs now is told with its next heartbeat.

        Args:
            id: the workflow's.
            activity: the id of one call, or an activity, for all its pending calls.
            reason: for people.
        """
        request = service.PauseActivityRequest(**self._common(id, activity, run_id), reason=reason)
        await self._reach.ask(self._reach.connection.pause_activity, request, _what("pausing", id, activity))

    async def unpause(
        self,
        id: str,
        activity: Which,
        *,
        reset_attempts: bool = False,
        reset_heartbeat: bool = False,
        run_id: str | None = None,
    ) -> None:
        """Let a paused activity go on; its next attempt begins now.

        Args:
            id, activity: as in `pause`.
            reset_attempts: count them from 1 again.
            reset_heartbeat: forget what the last attempt reported.
        """
        request = service.UnpauseActivityRequest(
            **self._common(id, activity, run_id), reset_attempts=reset_attempts, reset_heartbeat=reset_heartbeat
        )
        await self._reach.ask(self._reach.connection.unpause_activity, request, _what("unpausing", id, activity))

    async def reset(
        self,
        id: str,
        activity: Which,
        *,
        reset_heartbeat: bool = False,
        keep_paused: bool = False,
        restore_options: bool = False,
        run_id: str | None = None,
    ) -> None:
        """Begin it anew: attempts count from 1 again, and one that backs off begins now.

        Args:
            id, activity: as in `pause`.
            reset_heartbeat: forget what the last attempt reported.
            keep_paused: one that is paused stays so.
            restore_options: give it the options of its call again.
        """
        request = service.ResetActivityRequest(
            **self._common(id, activity, run_id),
            reset_heartbeat=reset_heartbeat,
            keep_paused=keep_paused,
            restore_original_options=restore_options,
        )
        await self._reach.ask(self._reach.connection.reset_activity, request, _what("resetting", id, activity))

    async def update_options(
        self,
        id: str,
        activity: Which,
        *,
        start_to_close_timeout: Duration | None = None,
        schedule_to_close_timeout: Duration | None = None,
        schedule_to_start_timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        retry: Retry | None = None,
        task_queue: str | None = None,
        restore_options: bool = False,
        run_id: str | None = None,
    ) -> None:
        """Give pending calls other options, for attempts that begin from now on; what is left out stays.

        Args:
            id, activity: as in `pause`.
            start_to_close_timeout, schedule_to_close_timeout, schedule_to_start_timeout, heartbeat_timeout, retry,
                task_queue: as in @activity.
            restore_options: instead of all these: the options of its call again.

        Raises:
            ValueError: nothing is to be changed, or a time-out that cannot be.
        """
        request = service.UpdateActivityOptionsRequest(
            **self._common(id, activity, run_id), restore_original=restore_options
        )
        options, mask = request.activity_options, request.update_mask.paths
        for name, duration in (
            ("start_to_close_timeout", start_to_close_timeout),
            ("schedule_to_close_timeout", schedule_to_close_timeout),
            ("schedule_to_start_timeout", schedule_to_start_timeout),
            ("heartbeat_timeout", heartbeat_timeout),
        ):
            length_ns = positive_duration(duration, name)
            if length_ns is not None:
                getattr(options, name).CopyFrom(duration_message(length_ns))
                mask.append(name)
        if retry is not None:
            options.retry_policy.CopyFrom(retry._message)  # pyright: ignore[reportPrivateUsage] - no user's business
            mask.append("retry_policy")
        if task_queue is not None:
            options.task_queue.name = task_queue
            mask.append("task_queue.name")
        if bool(mask) is restore_options:
            raise ValueError("say which options the activity shall have, or restore_options=True, and not both")
        await self._reach.ask(
            self._reach.connection.update_activity_options, request, _what("changing the options of", id, activity)
        )

    def _common(self, id: str, activity: Which, run_id: str | None) -> dict[str, Any]:
        which = {"type": activity.name} if isinstance(activity, ActivityDefinition) else {"id": activity}
        return {
            "namespace": self._reach.namespace,
            "execution": WorkflowExecution(workflow_id=id, run_id=run_id or ""),
            "identity": self._reach.identity,
            **which,
        }


def _what(doing: str, id: str, activity: Which) -> str:
    name = activity.name if isinstance(activity, ActivityDefinition) else activity
    return f"{doing} activity {name!r} of workflow {id!r}"
