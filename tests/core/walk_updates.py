"""What the walker says of updates and to activities from outside: sensible mostly, now and then not."""

from __future__ import annotations

from temporalio.api.protocol.v1 import Message
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    PauseWorkflowExecutionRequest,
    ResetActivityRequest,
    RespondActivityTaskCompletedRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowExecutionRequest,
    UpdateActivityOptionsRequest,
)

from perdure.core import commands as law
from perdure.core.names import ExecutionKey, TaskKind
from perdure.core.started import StartedWorkflowTask
from perdure.core.state import Execution
from perdure.core.tokens import TaskToken
from tests.core import given


def messages(run: Execution, task: StartedWorkflowTask, which: int, how: int) -> list[Message]:
    """A worker's answers to the updates it was told of, and to those it accepted before."""
    answers: list[Message] = []
    for place, asked in enumerate(task.messages):
        kind = (which + how + place) % 5
        if kind == 0:
            answers.append(given.rejected(asked))
        elif kind < 4:
            answers.append(given.accepted(asked))
            if kind == 3:
                answers.append(given.responded(asked.protocol_instance_id))
    for update_id, update in run.updates.items():
        if not update.completed_event_id and (which + how) % 3 == 0:
            answers.append(given.responded(update_id))
    if how % 13 == 12:
        answers.append(given.responded("unknown"))
    return answers


def update(which: int, how: int) -> law.Command:
    """One of a few ids, so that some are asked for again."""
    return law.AdmitUpdate(given.update_request(f"u{which % 7}"))


def pause(which: int, how: int) -> law.Command:
    """Pause, or go on."""
    if how % 6 == 5:
        return law.PauseWorkflow(PauseWorkflowExecutionRequest(identity="operator"))
    return law.UnpauseWorkflow(UnpauseWorkflowExecutionRequest(identity="operator"))


def control(run: Execution, which: int, how: int) -> law.Command | None:
    """An operator does something to a pending activity."""
    if not run.activity_ids:
        return None
    ids = list(run.activity_ids)
    activity_id = ids[which % len(ids)]
    if how % 5 == 0:
        return law.ControlActivities(PauseActivityRequest(id=activity_id, identity="operator"))
    if how % 5 == 1:
        return law.ControlActivities(UnpauseActivityRequest(unpause_all=True, reset_attempts=how % 2 == 0))
    if how % 5 == 2:
        return law.ControlActivities(ResetActivityRequest(id=activity_id, keep_paused=how % 2 == 0))
    if how % 5 == 3:
        token = TaskToken(
            ExecutionKey(run.key.namespace, run.key.workflow_id, ""), TaskKind.ACTIVITY, 0, 0, activity_id
        )
        return law.CompleteActivity(token, RespondActivityTaskCompletedRequest(identity="operator"))
    request = UpdateActivityOptionsRequest(id=activity_id)
    request.update_mask.paths.extend(["start_to_close_timeout", "retry_policy.initial_interval"])
    request.activity_options.start_to_close_timeout.CopyFrom(given.seconds(1 + which % 9))
    request.activity_options.retry_policy.CopyFrom(given.retry(initial=1 + which % 4))
    return law.ControlActivities(request)
