"""A command that fails the workflow task which it came with."""

from __future__ import annotations

from temporalio.api.enums.v1 import WorkflowTaskFailedCause

from perdure.api import enums


def camel(name: str) -> str:
    """`BAD_NAME` and `bad_name` as `BadName`."""
    return "".join(word.capitalize() for word in name.split("_"))


class BadCommand(Exception):
    """A command that cannot be applied: fails the workflow task with this cause."""

    def __init__(self, cause: enums.WorkflowTaskFailedCause, why: str, closes: bool = False) -> None:
        name = WorkflowTaskFailedCause.Name(cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
        self.cause = cause
        self.closes = closes
        """The same answer would come for ever: the run is terminated, as Temporal does with what is too big."""
        self.message = f"{camel(name)}: {why}" if why else camel(name)
        super().__init__(self.message)


class HistoryTooLong(BadCommand):
    """More commands than the run's history has room for: the run ends, before any of them is applied."""

    def __init__(self) -> None:
        super().__init__(enums.FAILED_FORCE_CLOSE_COMMAND, "", closes=True)
        self.message = HISTORY_TOO_LONG


HISTORY_TOO_LONG = "Workflow history count exceeds limit."


class Overtaken(BadCommand):
    """A command that closes the run, and does not know of what came meanwhile: the workflow is asked again."""

    def __init__(self) -> None:
        super().__init__(enums.FAILED_UNHANDLED_COMMAND, "")


def builder_state(cause: enums.WorkflowTaskFailedCause, action: str, subject: str) -> BadCommand:
    """A command that does not fit the state, in Temporal's words."""
    return BadCommand(cause, f"invalid history builder state for action: {action}, {subject}")
