"""Refusals in Temporal's words, with the error details that its clients read."""

from __future__ import annotations

from temporalio.api.errordetails.v1 import NotFoundFailure

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
