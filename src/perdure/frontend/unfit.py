"""What becomes of a task that was taken and cannot be put together for its worker.

A store that does not serve at this moment is no fault of the task: it is given back, for the next poll. Everything else
(a history that is damaged, a message that cannot be made) would come again with the same task, before every poller of
the queue. So that task fails, with the reason, is tried again with growing pauses as any failing task is, and the queue
goes on.
"""

from __future__ import annotations

import logging

from temporalio.api.failure.v1 import Failure
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.commands import FailActivity, FailWorkflowTask
from perdure.core.context import Poller
from perdure.core.started import StartedActivityTask, StartedTask, StartedWorkflowTask
from perdure.core.tokens import decode_token
from perdure.engine.engine import Engine
from perdure.engine.matching.volatile_task import VolatileTask

_log = logging.getLogger(__name__)

_IDENTITY = "history-service"
"""Who fails it: Temporal's name for the engine itself."""
_PASSING = frozenset({StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED})


def is_passing(error: BaseException) -> bool:
    """Whether the same task may be put together later: the caller went away, or the store does not serve now."""
    return not isinstance(error, Exception) or (isinstance(error, Rejected) and error.code in _PASSING)


async def set_aside(engine: Engine, poller: Poller, task: StartedTask | VolatileTask, error: BaseException) -> bool:
    """Give the task back if it may be put together later, else fail it. Whether it was given back."""
    if not isinstance(error, Exception) or is_passing(error):
        engine.matching.give_back(poller, task)
        return True
    await fail(engine, task, error)
    return False


async def fail(engine: Engine, task: StartedTask | VolatileTask, error: Exception) -> None:
    """Fail the task for what was met when it was put together. Whoever waits for a query is told."""
    reason = error.outside if isinstance(error, Rejected) else f"{type(error).__name__}: {error}"
    text = f"perdure cannot put this task together: {reason}"
    key = task.key
    _log.error(
        "a task of workflow %r, run %s, cannot be put together and fails; its queue goes on",
        key.workflow_id,
        key.run_id,
        exc_info=error,
    )
    try:
        if isinstance(task, VolatileTask):
            task.fail(Rejected(StatusCode.DATA_LOSS, text))
        elif isinstance(task, StartedWorkflowTask):
            failed = service.RespondWorkflowTaskFailedRequest(identity=_IDENTITY, failure=_failure(text))
            command = FailWorkflowTask(decode_token(task.token), failed)
            await engine.submit(key.namespace, key.workflow_id, key.run_id, command)
        else:
            assert isinstance(task, StartedActivityTask)
            answer = service.RespondActivityTaskFailedRequest(identity=_IDENTITY, failure=_failure(text))
            await engine.submit(
                key.namespace, key.workflow_id, key.run_id, FailActivity(decode_token(task.token), answer)
            )
    except Rejected as refused:  # it is not owed any more, or its time-out will say the same
        _log.warning(
            "workflow %r: the task that cannot be put together is left to its time-out: %s", key.workflow_id, refused
        )


def _failure(text: str) -> Failure:
    failure = Failure(message=text, source="Server")
    failure.server_failure_info.SetInParent()
    return failure
