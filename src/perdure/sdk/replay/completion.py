"""The end of a run: Complete-, Fail-, Cancel- and ContinueAsNewWorkflowExecution."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, cast

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.errors import ActivityError, CancelledError, ChildWorkflowError
from perdure.sdk.interceptors import put_headers
from perdure.sdk.options import duration_message
from perdure.sdk.replay import carrying
from perdure.sdk.replay.entry import Entry, Site
from perdure.sdk.replay.events import reads
from perdure.sdk.replay.mismatch import names, raised_at
from perdure.sdk.replay.run import Run
from perdure.sdk.texts import repr_of


class Ending(StrEnum):
    """How the code ended."""

    COMPLETE = "completion of the workflow"
    FAIL = "failure of the workflow"
    CANCEL = "cancellation of the workflow"
    CONTINUE_AS_NEW = "continuation as a new run"


_COMPLETED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
_FAILED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED
_CANCELED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED
_CONTINUED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW

ENDINGS: Final[dict[EventType.ValueType, Ending]] = {
    _COMPLETED: Ending.COMPLETE,
    _FAILED: Ending.FAIL,
    _CANCELED: Ending.CANCEL,
    _CONTINUED: Ending.CONTINUE_AS_NEW,
}
"""The event that each ending becomes. A run ends once: there is nothing to move to afterwards."""

COMMAND_TYPES: Final[dict[Ending, CommandType.ValueType]] = {
    Ending.COMPLETE: CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
    Ending.FAIL: CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
    Ending.CANCEL: CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
    Ending.CONTINUE_AS_NEW: CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
}


class ContinueAsNew(BaseException):
    """Carries the order to go on as a new run out of the code; no Exception, so that code does not catch it."""

    def __init__(
        self,
        workflow_type: str | None,
        arguments: tuple[Any, ...],
        task_queue: str,
        run_timeout_ns: int | None,
        task_timeout_ns: int | None,
        memo: Mapping[str, Any] | None = None,
        search_attributes: Mapping[str, Payload] | None = None,
        headers: Mapping[str, Payload] | None = None,
    ) -> None:
        super().__init__()
        self.workflow_type = workflow_type
        """None: this run's."""
        self.arguments = arguments
        self.task_queue = task_queue
        self.run_timeout_ns = run_timeout_ns
        self.task_timeout_ns = task_timeout_ns
        self.memo = memo
        self.search_attributes = search_attributes
        self.headers = headers


class Completion(Entry):
    """The last command of a run."""

    __slots__ = ("ending", "error")

    event_types = (_COMPLETED, _FAILED, _CANCELED, _CONTINUED)

    def __init__(self, ending: Ending, error: BaseException | None) -> None:
        super().__init__()
        self.ending = ending
        self.error = error

    def new_command(self) -> Command:
        """The command, still to be given its result or failure."""
        self.command = Command(command_type=COMMAND_TYPES[self.ending])
        return self.command

    def continue_as_new(self, order: ContinueAsNew, machine: Run) -> None:
        """Make the command of a continuation.

        Memo and search attributes go on unless others are given, signals that nobody took in any case.
        Raises PayloadError.
        """
        assert machine.info is not None
        name, converter = order.workflow_type or machine.info.workflow_type, machine.converter
        attributes = self.new_command().continue_as_new_workflow_execution_command_attributes
        attributes.workflow_type.name = name
        payloads = converter.to_payloads(order.arguments, f"the arguments of workflow {name}")
        attributes.input.payloads.extend(payloads)
        if order.task_queue:
            attributes.task_queue.name = order.task_queue
        if order.run_timeout_ns is not None:
            attributes.workflow_run_timeout.CopyFrom(duration_message(order.run_timeout_ns))
        if order.task_timeout_ns is not None:
            attributes.workflow_task_timeout.CopyFrom(duration_message(order.task_timeout_ns))
        if order.memo is not None:
            for key, value in order.memo.items():
                attributes.memo.fields[key].CopyFrom(converter.to_payload(value, f"the memo {key!r}"))
        elif machine.memo is not None:
            attributes.memo.CopyFrom(machine.memo)
        if order.headers:
            put_headers(attributes.header, order.headers)
        if machine.inbox is not None:
            carrying.put(attributes.header, machine.inbox.untaken())
        found = machine.search_attributes if order.search_attributes is None else order.search_attributes
        for key, payload in (found or {}).items():
            attributes.search_attributes.indexed_fields[key].CopyFrom(payload)

    def accept(self, event: HistoryEvent) -> bool:
        return ENDINGS[event.event_type] is self.ending

    def describe(self) -> str:
        return self.ending.value if self.error is None else f"{self.ending.value} ({repr_of(self.error)})"

    def place(self, returned: Site | None) -> Site | None:
        return returned if self.error is None else raised_at(self.error)


@names(*ENDINGS)
def _words(event: HistoryEvent) -> str:
    return ENDINGS[event.event_type].value


@reads(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
def _cancel_requested(machine: Run, event: HistoryEvent) -> None:
    if not machine.cancel_requested:
        machine.cancel_requested = True
        machine.cancel_reason = event.workflow_execution_cancel_requested_event_attributes.cause
        machine.fiber.cancel()


def is_cancellation(error: BaseException) -> bool:
    """Whether an error says that what the code waited for was cancelled; a group does if all that is in it does."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_cancellation(member) for member in cast("BaseExceptionGroup[BaseException]", error).exceptions)
    return isinstance(error, CancelledError) or (
        isinstance(error, (ActivityError, ChildWorkflowError)) and isinstance(error.__cause__, CancelledError)
    )


def fails_run(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """Whether an error ends the run, or the update, that it leaves; a group does if all that is in it does."""
    if isinstance(error, kinds):
        return True
    if not isinstance(error, BaseExceptionGroup):
        return False
    members = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return all(fails_run(member, kinds) for member in members)
