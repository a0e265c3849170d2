"""Activities: ScheduleActivityTask and RequestCancelActivityTask.

How the code learns of a cancellation that it asked for is the activity's `cancellation`:

* "try" (Temporal's TRY_CANCEL): the activity is told, the code goes on at once;
* "wait" (WAIT_CANCELLATION_COMPLETED): the activity is told, the code goes on when it has ended;
* "abandon": the activity is not told.

The command's constant part, one per declared activity and task queue, is built once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent

from perdure.sdk.convert import details_of
from perdure.sdk.convert.user_metadata import put_metadata
from perdure.sdk.declare.definitions import AnyActivity, needs_object
from perdure.sdk.errors import (
    ActivityError,
    CancelledError,
    DefinitionError,
    FailureError,
    RetryState,
    UnknownTypeError,
)
from perdure.sdk.interceptors import put_headers
from perdure.sdk.options import JITTER_HEADER, duration_message
from perdure.sdk.replay.entry import COMMANDS_MAX, Entry, Operation, current_site, greed
from perdure.sdk.replay.events import reads
from perdure.sdk.replay.mismatch import names
from perdure.sdk.replay.run import Run


class ActivityState(StrEnum):
    """Where an activity call stands, as the code can know it."""

    CREATED = "Created"
    SCHEDULED = "Scheduled"
    CANCELING = "Canceling"
    CANCEL_REQUESTED = "CancelRequested"
    CLOSED = "Closed"


class ActivityTrigger(StrEnum):
    """What moves it: history's events, and the code's cancel."""

    TASK_SCHEDULED = "ActivityTaskScheduled"
    CANCEL = "cancel"
    TASK_CANCEL_REQUESTED = "ActivityTaskCancelRequested"
    TASK_COMPLETED = "ActivityTaskCompleted"
    TASK_FAILED = "ActivityTaskFailed"
    TASK_TIMED_OUT = "ActivityTaskTimedOut"
    TASK_CANCELED = "ActivityTaskCanceled"


_S = ActivityState
_T = ActivityTrigger

ACTIVITY_TRANSITIONS: Final[dict[tuple[ActivityState, ActivityTrigger], ActivityState]] = {
    (_S.CREATED, _T.TASK_SCHEDULED): _S.SCHEDULED,
    (_S.CREATED, _T.CANCEL): _S.CLOSED,
    (_S.SCHEDULED, _T.CANCEL): _S.CANCELING,
    (_S.SCHEDULED, _T.TASK_COMPLETED): _S.CLOSED,
    (_S.SCHEDULED, _T.TASK_FAILED): _S.CLOSED,
    (_S.SCHEDULED, _T.TASK_TIMED_OUT): _S.CLOSED,
    (_S.SCHEDULED, _T.TASK_CANCELED): _S.CLOSED,
    (_S.CANCELING, _T.TASK_CANCEL_REQUESTED): _S.CANCEL_REQUESTED,
    (_S.CANCEL_REQUESTED, _T.TASK_COMPLETED): _S.CLOSED,
    (_S.CANCEL_REQUESTED, _T.TASK_FAILED): _S.CLOSED,
    (_S.CANCEL_REQUESTED, _T.TASK_TIMED_OUT): _S.CLOSED,
    (_S.CANCEL_REQUESTED, _T.TASK_CANCELED): _S.CLOSED,
}

_CREATED, _SCHEDULED, _CANCELING, _CANCEL_REQUESTED = _S.CREATED, _S.SCHEDULED, _S.CANCELING, _S.CANCEL_REQUESTED
_ON_SCHEDULED, _ON_CANCEL, _ON_CANCEL_REQUESTED = _T.TASK_SCHEDULED, _T.CANCEL, _T.TASK_CANCEL_REQUESTED
_ON_COMPLETED, _ON_FAILED, _ON_TIMED_OUT, _ON_CANCELED = (
    _T.TASK_COMPLETED,
    _T.TASK_FAILED,
    _T.TASK_TIMED_OUT,
    _T.TASK_CANCELED,
)
_REQUEST_CANCEL = CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK


def template_of(activity: AnyActivity, task_queue: str) -> Command:
    """The command without id and input. Shared: to be copied, never changed."""
    cached: tuple[Any, str, Command] | None = activity.__dict__.get("_command_template")
    if cached is not None and cached[0] is activity.activity_options and cached[1] == task_queue:
        return cached[2]
    template = _build_template(activity, task_queue)
    activity.__dict__["_command_template"] = (activity.activity_options, task_queue, template)
    return template


def _build_template(activity: AnyActivity, task_queue: str) -> Command:
    options = activity.activity_options
    command = Command(command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK)
    attributes = command.schedule_activity_task_command_attributes
    attributes.activity_type.name = activity.name
    attributes.task_queue.name = options.task_queue or task_queue
    for field, duration_ns in (
        (attributes.start_to_close_timeout, options.start_to_close_ns),
        (attributes.schedule_to_close_timeout, options.schedule_to_close_ns),
        (attributes.schedule_to_start_timeout, options.schedule_to_start_ns),
        (attributes.heartbeat_timeout, options.heartbeat_ns),
    ):
        if duration_ns is not None:
            field.CopyFrom(duration_message(duration_ns))
    if options.retry is not None:
        attributes.retry_policy.CopyFrom(options.retry._message)  # pyright: ignore[reportPrivateUsage] - no user's business
        if options.retry.jitter:
            jitter = Payload(metadata={"encoding": b"json/plain"}, data=repr(options.retry.jitter).encode())
            attributes.header.fields[JITTER_HEADER].CopyFrom(jitter)
    return command


class Activity(Operation):
    """One activity call. Its value is the decoded result."""

    __slots__ = ("definition", "id", "machine", "scheduled_event_id", "state")

    event_types = (EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,)

    def __init__(self, machine: Run, definition: AnyActivity, activity_id: str) -> None:
        super().__init__()
        self.machine = machine
        self.definition = definition
        self.id = activity_id
        self.scheduled_event_id = 0
        self.state = _CREATED

    def build(self, args: tuple[Any, ...], headers: Mapping[str, Payload] | None = None) -> None:
        """Make the command. Raises PayloadError when an argument cannot be serialised."""
        machine = self.machine
        command = Command()
        command.CopyFrom(template_of(self.definition, machine.task_queue))
        attributes = command.schedule_activity_task_command_attributes
        attributes.activity_id = self.id
        if args:
            what = f"the arguments of activity {self.definition.name}"
            attributes.input.payloads.extend(machine.converter.to_payloads(args, what))
        if headers:
            put_headers(attributes.header, headers)
        summary = self.definition.activity_options.summary
        if summary is not None:
            put_metadata(command, machine.converter, summary)
        self.command = command

    def _move(self, trigger: ActivityTrigger) -> None:
        self.state = ACTIVITY_TRANSITIONS[self.state, trigger]

    def accept(self, event: HistoryEvent) -> bool:
        attributes = event.activity_task_scheduled_event_attributes
        if attributes.activity_id != self.id or attributes.activity_type.name != self.definition.name:
            return False
        self._move(_ON_SCHEDULED)
        self.scheduled_event_id = event.event_id
        self.machine.activities[event.event_id] = self
        return True

    def completed(self, event: HistoryEvent) -> None:
        """ActivityTaskCompleted: decode the result by the activity's annotation."""
        self._move(_ON_COMPLETED)
        if self.done:
            return
        attributes = event.activity_task_completed_event_attributes
        definition = self.definition
        payloads = attributes.result.payloads
        try:
            value = self.machine.read(payloads, definition.return_type, f"the result of activity {definition.name}")
        except Exception as error:
            self.reject(error)
        else:
            self.resolve(value)

    def failed(self, event: HistoryEvent) -> None:
        """ActivityTaskFailed."""
        self._move(_ON_FAILED)
        attributes = event.activity_task_failed_event_attributes
        self._reject_by_server(attributes.failure, attributes, "activity task failed")

    def timed_out(self, event: HistoryEvent) -> None:
        """ActivityTaskTimedOut."""
        self._move(_ON_TIMED_OUT)
        attributes = event.activity_task_timed_out_event_attributes
        self._reject_by_server(attributes.failure, attributes, "activity task timed out")

    def canceled(self, event: HistoryEvent) -> None:
        """ActivityTaskCanceled: the activity did as it was told."""
        asked = self.state is _CANCEL_REQUESTED
        self._move(_ON_CANCELED)
        if self.done:
            return
        attributes = event.activity_task_canceled_event_attributes
        details = details_of(attributes.details.payloads, self.machine.converter)
        cause = CancelledError(f"activity {self.definition.name} was cancelled", details=details)
        if asked:
            self.reject(cause)
        else:
            self._reject(cause, attributes, "activity task canceled", RetryState.UNKNOWN)

    def _reject_by_server(self, failure: Failure, attributes: Any, message: str) -> None:
        if not self.done:
            cause = self.machine.read_failure(failure)
            self._reject(cause, attributes, message, RetryState(attributes.retry_state))

    def _reject(self, cause: FailureError, attributes: Any, message: str, retry_state: RetryState) -> None:
        error = ActivityError(
            message,
            activity_type=self.definition.name,
            activity_id=self.id,
            scheduled_event_id=self.scheduled_event_id,
            started_event_id=attributes.started_event_id,
            identity=attributes.identity if "identity" in attributes.DESCRIPTOR.fields_by_name else "",
            retry_state=retry_state,
        )
        error.__cause__ = cause
        self.reject(error)

    @property
    def is_canceling(self) -> bool:
        return self.state is _CANCELING or self.state is _CANCEL_REQUESTED

    def cancel(self) -> bool:
        """Ask it to stop. True when the code may go on at once."""
        if self.done or self.state is _CANCELING or self.state is _CANCEL_REQUESTED:
            return False
        cancellation = self.definition.activity_options.cancellation
        if self.state is _CREATED:
            self._move(_ON_CANCEL)
            self.machine.withdraw(self)
        elif cancellation != "abandon":
            self._move(_ON_CANCEL)
            self.machine.emit(CancelActivity(self))
            if cancellation == "wait":
                return False
        self.reject(CancelledError(f"activity {self.definition.name} was cancelled"))
        return True

    def cancel_requested(self) -> None:
        """ActivityTaskCancelRequested: the server knows."""
        self._move(_ON_CANCEL_REQUESTED)

    def describe(self) -> str:
        return f"activity {self.definition.name} (id {self.id})"


class CancelActivity(Entry):
    """The command that asks a scheduled activity to stop."""

    __slots__ = ("activity",)

    event_types = (EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED,)

    def __init__(self, activity: Activity) -> None:
        super().__init__()
        self.activity = activity

    def build(self) -> None:
        """Make the command."""
        self.command = Command(command_type=_REQUEST_CANCEL)
        attributes = self.command.request_cancel_activity_task_command_attributes
        attributes.scheduled_event_id = self.activity.scheduled_event_id

    def accept(self, event: HistoryEvent) -> bool:
        attributes = event.activity_task_cancel_requested_event_attributes
        if attributes.scheduled_event_id != self.activity.scheduled_event_id:
            return False
        self.activity.cancel_requested()
        return True

    def describe(self) -> str:
        return f"cancellation of {self.activity.describe()}"


def schedule_activity(
    machine: Run,
    activity: AnyActivity,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    headers: Mapping[str, Payload] | None = None,
) -> Activity:
    """Raises TypeError as the call itself would, PayloadError for an argument that cannot be serialised."""
    if machine.barred is not None:
        machine.check_open()
    if not activity.is_declared:
        check_object(machine, activity)
    args = activity.bind(args, kwargs)
    machine.activity_count += 1
    entry = Activity(machine, activity, str(machine.activity_count))
    if machine.replaying:
        entry.site = current_site()
    else:
        if len(machine.produced) >= COMMANDS_MAX:
            machine.violation = greed()
            raise machine.violation
        try:
            entry.build(args, headers)
        except Exception as error:
            raise machine.not_built(entry.describe(), error) from error.__cause__
    machine.produced.append(entry)
    return entry


def check_object(machine: Run, activity: AnyActivity) -> None:
    """Of a method that has no object: whether the worker has one of that name that does, if the call goes to it.

    Raises DefinitionError, which fails the task even if caught: in replay nobody asks.
    """
    if activity.owner is not None:
        queue = activity.activity_options.task_queue
        if machine.replaying or machine.finds is None or (queue and queue != machine.task_queue):
            return
        try:
            machine.finds(activity.name)
        except UnknownTypeError:
            pass  # told of below, with what is to be written
        else:
            return
    machine.violation = DefinitionError(needs_object(activity))
    raise machine.violation


# --- what history says ---------------------------------------------------------------------------


@reads(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
def _completed(machine: Run, event: HistoryEvent) -> None:
    scheduled = event.activity_task_completed_event_attributes.scheduled_event_id
    machine.activities.pop(scheduled).completed(event)


@reads(EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)
def _failed(machine: Run, event: HistoryEvent) -> None:
    scheduled = event.activity_task_failed_event_attributes.scheduled_event_id
    machine.activities.pop(scheduled).failed(event)


@reads(EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
def _timed_out(machine: Run, event: HistoryEvent) -> None:
    scheduled = event.activity_task_timed_out_event_attributes.scheduled_event_id
    machine.activities.pop(scheduled).timed_out(event)


@reads(EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED)
def _canceled(machine: Run, event: HistoryEvent) -> None:
    scheduled = event.activity_task_canceled_event_attributes.scheduled_event_id
    machine.activities.pop(scheduled).canceled(event)


@names(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
def _scheduled_words(event: HistoryEvent) -> str:
    attributes = event.activity_task_scheduled_event_attributes
    return f"activity {attributes.activity_type.name} (id {attributes.activity_id})"


@names(EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED)
def _cancel_requested_words(event: HistoryEvent) -> str:
    scheduled = event.activity_task_cancel_requested_event_attributes.scheduled_event_id
    return f"cancellation of the activity scheduled by event {scheduled}"
