"""What a workflow task comes to."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.protocol.v1 import Message
from temporalio.api.query.v1 import WorkflowQueryResult

from perdure.sdk.errors import PerdureError
from perdure.sdk.replay.local_work import LocalWork

_UNSPECIFIED = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED
UNHANDLED = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
NON_DETERMINISTIC = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR


class HistoryGapError(PerdureError):
    """The history given does not continue what this machine has seen: fetch it whole and process that."""


class TaskOutcome(msgspec.Struct):
    """What a workflow task comes to: commands, or a failure.

    Attributes:
        commands: in order; empty when failed.
        failure: why the task (not the run) failed, None when it did not. The machine is then of no more use.
        cause: of the failure.
        finished: the run's last command is among `commands`, or is in its history already.
        error: the exception behind `failure`.
        messages: what is said of updates.
        query_results: by query id; that of a task which is nothing but a query has the id "".
        unfinished: handlers that had not ended when the run did.
        dropped, untaken: what is to be said of signals that the code did not get (`remarks.py`).
        local: what is to be run before there is an outcome; all else is then empty.
        flags: changes of the SDK's own behaviour (`flags.py`) that made a difference for the first time.
        goes_on: local activities are still running: the task is to be completed with a new one behind it.
    """

    commands: list[Command] = []
    failure: Failure | None = None
    cause: WorkflowTaskFailedCause.ValueType = _UNSPECIFIED
    finished: bool = False
    error: BaseException | None = None
    messages: Sequence[Message] = ()
    query_results: dict[str, WorkflowQueryResult] | None = None
    unfinished: Sequence[str] = ()
    dropped: Sequence[str] = ()
    untaken: Sequence[str] = ()
    local: LocalWork | None = None
    goes_on: bool = False
    flags: Sequence[int] = ()
