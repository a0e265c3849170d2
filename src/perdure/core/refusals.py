"""Refusals in Temporal's words, with the error details that its clients read."""

from __future__ import annotations

from temporalio.api.enums.v1 import ResourceExhaustedCause, ResourceExhaustedScope
from temporalio.api.errordetails.v1 import NotFoundFailure, ResourceExhaustedFailure

from perdure.api.errors import Rejected, StatusCode


def not_found(message: str) -> Rejected:
    return Rejected(StatusCode.NOT_FOUND, message, NotFoundFailure())


def invalid(message: str) -> Rejected:
    return Rejected(StatusCode.INVALID_ARGUMENT, message)


def workflow_task_not_found() -> Rejected:
    """The token is of a task that ended, or the row is of one that is not owed any more."""
    return not_found("Workflow task not found.")


def activity_not_found() -> Rejected:
    """The token is of an attempt that ended."""
    return not_found("invalid activityID or activity already timed out or invoking workflow is completed")


def workflow_completed() -> Rejected:
    return not_found("workflow execution already completed")


def workflow_not_found() -> Rejected:
    return not_found("workflow execution not found")


class AnotherChain(Rejected):
    """The workflow is there, but its current run is not of the chain that was meant."""

    def __init__(self) -> None:
        super().__init__(StatusCode.NOT_FOUND, "workflow execution not found", NotFoundFailure())


def workflow_closing() -> Rejected:
    """The run is about to close, and what comes now would stop it from doing so: ask again in a moment."""
    return Rejected(
        StatusCode.RESOURCE_EXHAUSTED,
        "workflow operation can not be applied because workflow is closing",
        ResourceExhaustedFailure(
            cause=ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW,
            scope=ResourceExhaustedScope.RESOURCE_EXHAUSTED_SCOPE_NAMESPACE,
        ),
    )
