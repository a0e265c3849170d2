"""Builds histories by hand: each method adds the events that a server would write, and returns their id.

h = History("order-1", "fulfill").task().scheduled("charge").completed("receipt").task()
outcome = h.cold(fulfill)            # a new machine, the whole history
sticky = h.machine(fulfill); sticky.process(h.since(0)); ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType, EventType, RetryState, TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.sdk.convert import Converter, failure_of
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.errors import ApplicationError, TimedOutError
from perdure.sdk.errors import TimeoutType as Passed
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.replay.outcome import TaskOutcome

CONVERTER = Converter()
BEGIN_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
E = EventType


class History:
    """Events as a server writes them. One second passes before each workflow task."""

    def __init__(self, workflow: Any, *args: Any, workflow_id: str = "w-1", run_id: str = "run-1") -> None:
        self.workflow = workflow
        self.workflow_id, self.run_id = workflow_id, run_id
        self.events: list[HistoryEvent] = []
        self.now_ns = BEGIN_NS
        self.activities: dict[str, int] = {}
        self.timers: dict[str, int] = {}
        attributes = self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED).workflow_execution_started_event_attributes
        attributes.workflow_type.name = workflow.name
        attributes.task_queue.name = "default"
        attributes.original_execution_run_id = attributes.first_execution_run_id = run_id
        attributes.attempt = 1
        if args:
            attributes.input.payloads.extend(CONVERTER.to_payloads(args))

    def _add(self, kind: EventType.ValueType) -> HistoryEvent:
        event = HistoryEvent(event_id=len(self.events) + 1, event_type=kind)
        event.event_time.seconds, event.event_time.nanos = divmod(self.now_ns, SECOND_NS)
        self.events.append(event)
        return event

    @property
    def last(self) -> int:
        return len(self.events)

    # --- workflow tasks --------------------------------------------------------------------------

    def task(self) -> Self:
        """A workflow task is scheduled and started: what a poll returns ends here."""
        self.now_ns += SECOND_NS
        scheduled = self._add(E.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED).event_id
        started = self._add(E.EVENT_TYPE_WORKFLOW_TASK_STARTED)
        started.workflow_task_started_event_attributes.scheduled_event_id = scheduled
        return self

    def done(self, flags: Sequence[int] = ()) -> Self:
        """The task is completed; the events of its commands follow."""
        attributes = self._add(E.EVENT_TYPE_WORKFLOW_TASK_COMPLETED).workflow_task_completed_event_attributes
        attributes.started_event_id = self.last - 1
        if flags:
            attributes.sdk_metadata.lang_used_flags.extend(flags)
        return self

    def task_failed(self) -> Self:
        self._add(E.EVENT_TYPE_WORKFLOW_TASK_FAILED)
        return self

    def task_timed_out(self) -> Self:
        self._add(E.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
        return self

    # --- activities ------------------------------------------------------------------------------

    def scheduled(self, name: str, activity_id: str | None = None) -> Self:
        activity_id = activity_id or str(len(self.activities) + 1)
        event = self._add(E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        attributes = event.activity_task_scheduled_event_attributes
        attributes.activity_id, attributes.activity_type.name = activity_id, name
        self.activities[activity_id] = event.event_id
        return self

    def _activity_started(self, activity_id: str) -> tuple[int, int]:
        scheduled = self.activities[activity_id]
        event = self._add(E.EVENT_TYPE_ACTIVITY_TASK_STARTED)
        event.activity_task_started_event_attributes.scheduled_event_id = scheduled
        return scheduled, event.event_id

    def completed(self, activity_id: str, value: Any = None) -> Self:
        scheduled, started = self._activity_started(activity_id)
        attributes = self._add(E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED).activity_task_completed_event_attributes
        attributes.scheduled_event_id, attributes.started_event_id = scheduled, started
        attributes.result.payloads.extend(CONVERTER.to_payloads((value,)))
        return self

    def failed(self, activity_id: str, error: BaseException | None = None) -> Self:
        scheduled, started = self._activity_started(activity_id)
        attributes = self._add(E.EVENT_TYPE_ACTIVITY_TASK_FAILED).activity_task_failed_event_attributes
        attributes.scheduled_event_id, attributes.started_event_id = scheduled, started
        attributes.retry_state = RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED
        attributes.identity = "worker-1"
        attributes.failure.CopyFrom(failure_of(error or ApplicationError("no", type="No"), CONVERTER))
        return self

    def timed_out(self, activity_id: str) -> Self:
        scheduled, started = self._activity_started(activity_id)
        attributes = self._add(E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT).activity_task_timed_out_event_attributes
        attributes.scheduled_event_id, attributes.started_event_id = scheduled, started
        attributes.retry_state = RetryState.RETRY_STATE_TIMEOUT
        error = TimedOutError("too slow", timeout_type=Passed(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE))
        attributes.failure.CopyFrom(failure_of(error, CONVERTER))
        return self

    def cancel_asked(self, activity_id: str) -> Self:
        event = self._add(E.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED)
        attributes = event.activity_task_cancel_requested_event_attributes
        attributes.scheduled_event_id = self.activities[activity_id]
        return self

    def cancelled(self, activity_id: str) -> Self:
        attributes = self._add(E.EVENT_TYPE_ACTIVITY_TASK_CANCELED).activity_task_canceled_event_attributes
        attributes.scheduled_event_id = self.activities[activity_id]
        return self

    # --- timers, markers -------------------------------------------------------------------------

    def timer(self, timer_id: str | None = None) -> Self:
        timer_id = timer_id or str(len(self.timers) + 1)
        event = self._add(E.EVENT_TYPE_TIMER_STARTED)
        event.timer_started_event_attributes.timer_id = timer_id
        event.timer_started_event_attributes.start_to_fire_timeout.seconds = 60
        self.timers[timer_id] = event.event_id
        return self

    def fired(self, timer_id: str) -> Self:
        attributes = self._add(E.EVENT_TYPE_TIMER_FIRED).timer_fired_event_attributes
        attributes.timer_id, attributes.started_event_id = timer_id, self.timers[timer_id]
        return self

    def timer_cancelled(self, timer_id: str) -> Self:
        attributes = self._add(E.EVENT_TYPE_TIMER_CANCELED).timer_canceled_event_attributes
        attributes.timer_id, attributes.started_event_id = timer_id, self.timers[timer_id]
        return self

    def side_effect(self, side_effect_id: int, value: Any) -> Self:
        attributes = self._add(E.EVENT_TYPE_MARKER_RECORDED).marker_recorded_event_attributes
        attributes.marker_name = "SideEffect"
        attributes.details["data"].CopyFrom(CONVERTER.to_payloads_message((value,)))
        attributes.details["side-effect-id"].CopyFrom(CONVERTER.to_payloads_message((side_effect_id,)))
        return self

    def _marker(self, name: str, **details: Any) -> Self:
        attributes = self._add(E.EVENT_TYPE_MARKER_RECORDED).marker_recorded_event_attributes
        attributes.marker_name = name
        for key, value in details.items():
            attributes.details[key.replace("_", "-")].CopyFrom(CONVERTER.to_payloads_message((value,)))
        return self

    def local(
        self, name: str, seq: int, value: Any = None, *, at: int = 1, backoff_s: int = 0,
        error: BaseException | None = None, attempt: int = 1, activity_id: str | None = None,
    ) -> Self:  # fmt: skip
        """The marker of a local activity, a second behind what came before; `at`: its activation."""
        self.now_ns += SECOND_NS
        attributes = self._add(E.EVENT_TYPE_MARKER_RECORDED).marker_recorded_event_attributes
        attributes.marker_name = "core_local_activity"
        data: dict[str, Any] = {
            "seq": seq,
            "attempt": attempt,
            "activity_id": activity_id or str(seq),
            "activity_type": name,
            "complete_time": {"seconds": self.now_ns // SECOND_NS, "nanos": self.now_ns % SECOND_NS},
            "backoff": {"seconds": backoff_s, "nanos": 0} if backoff_s else None,
            "original_schedule_time": {"seconds": BEGIN_NS // SECOND_NS, "nanos": 0},
            "activation_index": at,
        }
        attributes.details["data"].CopyFrom(CONVERTER.to_payloads_message((data,)))
        if error is None:
            attributes.details["result"].CopyFrom(CONVERTER.to_payloads_message((value,)))
        else:
            attributes.failure.CopyFrom(failure_of(error, CONVERTER))
        return self

    def patch(self, patch_id: str, *, deprecated: bool = False) -> Self:
        return self._marker("core_patch", patch_data={"id": patch_id, "deprecated": deprecated})

    def version(self, change_id: str, version: int) -> Self:
        return self._marker("Version", change_id=change_id, version=version)

    def change_versions(self, *values: str) -> Self:
        event = self._add(E.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
        fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
        fields["TemporalChangeVersion"].CopyFrom(CONVERTER.to_payload(list(values)))
        return self

    # --- the run ---------------------------------------------------------------------------------

    def signaled(self, name: str, *args: Any) -> Self:
        event = self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
        attributes = event.workflow_execution_signaled_event_attributes
        attributes.signal_name = name
        attributes.input.payloads.extend(CONVERTER.to_payloads(args))
        return self

    def cancel_requested(self, cause: str = "") -> Self:
        event = self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
        event.workflow_execution_cancel_requested_event_attributes.cause = cause
        return self

    def workflow_completed(self, value: Any = None) -> Self:
        attributes = self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED).workflow_execution_completed_event_attributes
        attributes.result.payloads.extend(CONVERTER.to_payloads((value,)))
        return self

    def workflow_failed(self) -> Self:
        self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED)
        return self

    def apply(self, commands: Sequence[Command], flags: Sequence[int] = ()) -> Self:
        """The task is completed with these commands: their events, as the server writes them."""
        self.done(flags)
        for command in commands:
            self._apply_one(command)
        return self

    def _apply_one(self, command: Command) -> None:
        match command.command_type:
            case CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK:
                a = command.schedule_activity_task_command_attributes
                self.scheduled(a.activity_type.name, a.activity_id)
            case CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK:
                scheduled = command.request_cancel_activity_task_command_attributes.scheduled_event_id
                self.cancel_asked(next(k for k, v in self.activities.items() if v == scheduled))
            case CommandType.COMMAND_TYPE_START_TIMER:
                self.timer(command.start_timer_command_attributes.timer_id)
            case CommandType.COMMAND_TYPE_CANCEL_TIMER:
                self.timer_cancelled(command.cancel_timer_command_attributes.timer_id)
            case CommandType.COMMAND_TYPE_RECORD_MARKER:
                marker = command.record_marker_command_attributes
                attributes = self._add(E.EVENT_TYPE_MARKER_RECORDED).marker_recorded_event_attributes
                attributes.marker_name = marker.marker_name
                for name, value in marker.details.items():
                    attributes.details[name].CopyFrom(value)
                if marker.HasField("failure"):
                    attributes.failure.CopyFrom(marker.failure)
            case CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES:
                modified = self._add(E.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED)
                properties = modified.workflow_properties_modified_event_attributes
                properties.upserted_memo.CopyFrom(command.modify_workflow_properties_command_attributes.upserted_memo)
            case CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
                upsert = command.upsert_workflow_search_attributes_command_attributes
                event = self._add(E.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
                written = event.upsert_workflow_search_attributes_event_attributes
                written.search_attributes.CopyFrom(upsert.search_attributes)
            case CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION:
                self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
            case CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION:
                self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED)
            case CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION:
                self._add(E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED)
            case other:
                raise AssertionError(f"no server here for command type {other}")

    # --- to a machine ----------------------------------------------------------------------------

    def since(self, last_seen: int = 0) -> PollWorkflowTaskQueueResponse:
        """The task that a poll returns: all events behind `last_seen`."""
        task = PollWorkflowTaskQueueResponse(task_token=b"t")
        task.workflow_execution.workflow_id, task.workflow_execution.run_id = self.workflow_id, self.run_id
        task.workflow_type.name = self.workflow.name
        task.history.events.extend(self.events[last_seen:])
        return task

    def machine(self, workflow: AnyWorkflow | None = None) -> WorkflowMachine:
        return WorkflowMachine(workflow or self.workflow, CONVERTER, namespace="default", task_queue="default")

    def cold(self, workflow: AnyWorkflow | None = None) -> TaskOutcome:
        """Replay all of it on a new machine."""
        machine = self.machine(workflow)
        try:
            return machine.process(self.since())
        finally:
            machine.close()


def texts(commands: Sequence[Command]) -> list[str]:
    """One short line per command, for comparing by eye: `schedule charge 1`, `timer 1 60s`, `complete "done"`."""
    return [_text(command) for command in commands]


def _text(command: Command) -> str:
    match command.command_type:
        case CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK:
            a = command.schedule_activity_task_command_attributes
            inputs = ", ".join(p.data.decode() or "null" for p in a.input.payloads)
            return f"schedule {a.activity_type.name}({inputs}) as {a.activity_id}"
        case CommandType.COMMAND_TYPE_REQUEST_CANCEL_ACTIVITY_TASK:
            return (
                f"cancel activity of event {command.request_cancel_activity_task_command_attributes.scheduled_event_id}"
            )
        case CommandType.COMMAND_TYPE_START_TIMER:
            t = command.start_timer_command_attributes
            timeout = t.start_to_fire_timeout
            return f"timer {t.timer_id} for {timeout.seconds + timeout.nanos / SECOND_NS:g}s"
        case CommandType.COMMAND_TYPE_CANCEL_TIMER:
            return f"cancel timer {command.cancel_timer_command_attributes.timer_id}"
        case CommandType.COMMAND_TYPE_RECORD_MARKER:
            m = command.record_marker_command_attributes
            if m.marker_name == "SideEffect":
                return f"marker {m.marker_name} {m.details['data'].payloads[0].data.decode()}"
            details = [f"{key}={m.details[key].payloads[0].data.decode()}" for key in sorted(m.details)]
            return " ".join(["marker", m.marker_name, *details])
        case CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES:
            notes = command.modify_workflow_properties_command_attributes.upserted_memo.fields
            return " ".join(["memo", *(f"{name}={notes[name].data.decode() or 'null'}" for name in sorted(notes))])
        case CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
            fields = command.upsert_workflow_search_attributes_command_attributes.search_attributes.indexed_fields
            return " ".join(["upsert", *(f"{name} {fields[name].data.decode()}" for name in sorted(fields))])
        case CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION:
            payloads = command.complete_workflow_execution_command_attributes.result.payloads
            return "complete " + ", ".join(p.data.decode() or "null" for p in payloads)
        case CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION:
            return f"fail {failure_text(command.fail_workflow_execution_command_attributes.failure)}"
        case CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION:
            return "cancel workflow"
        case CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:
            payloads = command.continue_as_new_workflow_execution_command_attributes.input.payloads
            return "continue as new " + ", ".join(p.data.decode() for p in payloads)
        case CommandType.COMMAND_TYPE_PROTOCOL_MESSAGE:
            return f"say {command.protocol_message_command_attributes.message_id}"
        case CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:
            child = command.start_child_workflow_execution_command_attributes
            return f"child {child.workflow_type.name} as {child.workflow_id}"
        case CommandType.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION:
            told = command.signal_external_workflow_execution_command_attributes
            return f"signal {told.signal_name} to {told.execution.workflow_id}"
        case CommandType.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION:
            asked = command.request_cancel_external_workflow_execution_command_attributes
            return f"cancel {'child ' if asked.child_workflow_only else ''}{asked.workflow_id}"
        case other:
            raise AssertionError(f"unknown command type {other}")


def failure_text(failure: Failure) -> str:
    """`message <- cause <- cause`."""
    return failure.message + (f" <- {failure_text(failure.cause)}" if failure.HasField("cause") else "")
