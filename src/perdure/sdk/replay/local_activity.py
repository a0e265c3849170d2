"""Local activities: run by the worker that has the workflow task, within that task, and recorded by one marker.

An ordinary activity is a commit or two and a way through a queue. A local one is a call in the worker's own
process; the server learns of it when the task completes, by a RecordMarker command with its result. So
it is cheap, and weaker: until the task has completed nothing of it is durable, and a crash runs it
again, with attempt 1. The marker is that of Temporal's newer SDKs ("core_local_activity").

How a workflow task goes on while local activities run:

* the code runs until it waits; what it asked for is handed to the worker (`LocalWork`);
* each outcome comes back as a `Report`: its marker is recorded, and the code runs on, in an activation of
  its own. The markers stand in history in the order in which the code learnt of the outcomes, and replay
  hands them out in that order, at the same places;
* a task that has lasted long is completed with what there is and goes on in a new one (a "heartbeat").

A back-off longer than `local_retry_threshold` is not waited for in the worker: the marker then says "back
off", a durable timer does the waiting, and the next attempt is a request of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import CommandType, EventType, TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent, MarkerRecordedEventAttributes

from perdure.sdk.convert import details_of
from perdure.sdk.convert.user_metadata import put_metadata
from perdure.sdk.declare.definitions import AnyActivity
from perdure.sdk.errors import ActivityError, CancelledError, PayloadError, RetryState
from perdure.sdk.options import SECOND_NS, ActivityOptions
from perdure.sdk.replay.activity import check_object
from perdure.sdk.replay.entry import Operation
from perdure.sdk.replay.local_work import LocalOutcome, LocalRequest, LocalWork, Report
from perdure.sdk.replay.marker import Marker, names_marker
from perdure.sdk.replay.run import Run
from perdure.sdk.replay.timer import start_timer

LOCAL_ACTIVITY = "core_local_activity"
_DATA, _RESULT = "data", "result"
_MARKER_RECORDED = EventType.EVENT_TYPE_MARKER_RECORDED
_JSON = {"encoding": b"json/plain"}


class LocalActivityState(StrEnum):
    """Where a local activity stands, as the code can know it."""

    REQUESTED = "Requested"
    CANCELING = "Canceling"
    BACKING_OFF = "BackingOff"
    CLOSED = "Closed"


class LocalActivityTrigger(StrEnum):
    """What moves it: the worker's reports (in replay: their markers), its timer, and the code's cancel."""

    ENDED = "ended"
    BACK_OFF = "back off"
    TIMER_FIRED = "TimerFired"
    CANCEL = "cancel"
    CANCEL_AND_WAIT = "cancel and wait"


_S = LocalActivityState
_T = LocalActivityTrigger

LOCAL_ACTIVITY_TRANSITIONS: Final[dict[tuple[LocalActivityState, LocalActivityTrigger], LocalActivityState]] = {
    (_S.REQUESTED, _T.ENDED): _S.CLOSED,
    (_S.REQUESTED, _T.BACK_OFF): _S.BACKING_OFF,
    (_S.REQUESTED, _T.CANCEL): _S.CLOSED,
    (_S.REQUESTED, _T.CANCEL_AND_WAIT): _S.CANCELING,
    (_S.BACKING_OFF, _T.TIMER_FIRED): _S.REQUESTED,
    (_S.BACKING_OFF, _T.CANCEL): _S.CLOSED,
    (_S.CANCELING, _T.ENDED): _S.CLOSED,
}


class Moment(msgspec.Struct, frozen=True):
    """A time, or a length of it, as the marker writes it."""

    seconds: int
    nanos: int

    @property
    def ns(self) -> int:
        """Nanoseconds."""
        return self.seconds * SECOND_NS + self.nanos


class MarkerData(msgspec.Struct, frozen=True):
    """What the marker says beside result or failure, field by field as Temporal's SDKs write it."""

    seq: int
    attempt: int
    """0: it was cancelled before it was begun."""
    activity_id: str
    activity_type: str
    complete_time: Moment | None = None
    """Workflow time goes on to this."""
    backoff: Moment | None = None
    original_schedule_time: Moment | None = None
    """When the code asked for it first."""
    activation_index: int = 0
    """Which activation of its workflow task brought it; 0 is the first, the one with the task's events."""


_decoder = msgspec.json.Decoder(MarkerData)


class LocalMarker(Marker):
    """The command that records how one ended."""

    __slots__ = ("activity", "data", "outcome")

    def __init__(self, activity: LocalActivity, data: MarkerData, outcome: LocalOutcome) -> None:
        super().__init__()
        self.activity = activity
        self.data = data
        self.outcome = outcome

    def build(self) -> None:
        """Make the command."""
        command = Command(command_type=CommandType.COMMAND_TYPE_RECORD_MARKER)
        attributes = command.record_marker_command_attributes
        attributes.marker_name = LOCAL_ACTIVITY
        payload = Payload(metadata=_JSON, data=msgspec.json.encode(self.data))
        attributes.details[_DATA].payloads.append(payload)
        if self.outcome.result is not None:
            attributes.details[_RESULT].CopyFrom(self.outcome.result)
        if self.outcome.failure is not None:
            attributes.failure.CopyFrom(self.outcome.failure)
        put_metadata(command, self.activity.machine.converter, self.activity.definition.activity_options.summary)
        self.command = command

    def accept(self, event: HistoryEvent) -> bool:
        found = _data_of(event.marker_recorded_event_attributes)
        if found is None or found.seq != self.data.seq or found.activity_type != self.data.activity_type:
            return False
        self.recorded()
        return True

    def describe(self) -> str:
        return self.activity.describe()


class LocalActivity(Operation):
    """One call. Its value is the decoded result; its markers are entries of their own."""

    __slots__ = (
        "attempt", "definition", "headers", "id", "input", "machine", "scheduled_at_ns", "seq", "state", "timer",
    )  # fmt: skip

    event_types = ()

    def __init__(self, machine: Run, definition: AnyActivity, seq: int, payloads: Sequence[Payload]) -> None:
        super().__init__()
        self.machine = machine
        self.definition = definition
        self.id = str(seq)
        self.seq = seq
        self.input = payloads
        self.headers: Mapping[str, Payload] | None = None
        self.attempt = 1
        self.scheduled_at_ns = machine.now_ns
        self.state = _S.REQUESTED
        self.timer: Operation | None = None

    def request(self) -> LocalRequest:
        """As the worker is told."""
        spent_ns = self.machine.now_ns - self.scheduled_at_ns
        return LocalRequest(
            self.seq,
            self.definition,
            self.id,
            self.attempt,
            self.input,
            spent_ns,
            self.scheduled_at_ns,
            self.headers,
        )

    def ended(self, outcome: LocalOutcome, completed_at_ns: int | None, activation: int) -> None:
        """The worker's word, or its marker's in replay: record it, and tell the code."""
        self._move(_T.BACK_OFF if outcome.backoff_ns else _T.ENDED)
        self.machine.emit(LocalMarker(self, self.data(outcome, completed_at_ns, activation), outcome))
        if outcome.backoff_ns:
            self._back_off(outcome)
        elif outcome.failure is not None:
            self._failed(outcome)
        else:
            self._completed(outcome)

    def data(self, outcome: LocalOutcome, completed_at_ns: int | None, activation: int) -> MarkerData:
        """What the marker says."""
        return MarkerData(
            seq=self.seq,
            attempt=outcome.attempt,
            activity_id=self.id,
            activity_type=self.definition.name,
            complete_time=None if completed_at_ns is None else _moment(completed_at_ns),
            backoff=_moment(outcome.backoff_ns) if outcome.backoff_ns else None,
            original_schedule_time=_moment(self.scheduled_at_ns),
            activation_index=activation,
        )

    def _move(self, trigger: LocalActivityTrigger) -> None:
        self.state = LOCAL_ACTIVITY_TRANSITIONS[self.state, trigger]

    def _completed(self, outcome: LocalOutcome) -> None:
        definition = self.definition
        payloads = () if outcome.result is None else outcome.result.payloads
        what = f"the result of activity {definition.name}"
        try:
            value = self.machine.read(payloads, definition.return_type, what)
        except Exception as error:
            self.reject(error)
        else:
            self.resolve(value)

    def _failed(self, outcome: LocalOutcome) -> None:
        failure = outcome.failure
        assert failure is not None
        cause = self.machine.read_failure(failure)
        if isinstance(cause, CancelledError):
            details = details_of(failure.canceled_failure_info.details.payloads, self.machine.converter)
            self.reject(CancelledError(f"activity {self.definition.name} was cancelled", details=details))
            return
        error = ActivityError(
            "local activity failed",
            activity_type=self.definition.name,
            activity_id=self.id,
            retry_state=why_not_again(failure, outcome.attempt, self.definition.activity_options),
        )
        error.__cause__ = cause
        self.reject(error)

    def _back_off(self, outcome: LocalOutcome) -> None:
        """A durable timer instead of the worker; the next attempt has a number of its own, and the same id."""
        machine = self.machine
        self.attempt = outcome.attempt + 1
        self.timer = start_timer(machine, outcome.backoff_ns)
        self.timer.listener = self._again

    def _again(self, timer: Operation) -> None:
        self.timer = None
        if self.done:
            return
        self._move(_T.TIMER_FIRED)
        self.machine.activity_count += 1
        self.seq = self.machine.activity_count
        locals_of(self.machine).add(self)

    @property
    def is_canceling(self) -> bool:
        return self.state is _S.CANCELING

    def cancel(self) -> bool:
        if self.done or self.state is _S.CANCELING:
            return False
        kind = self.definition.activity_options.cancellation
        if kind == "wait" and self.state is _S.REQUESTED:
            self._move(_T.CANCEL_AND_WAIT)
            locals_of(self.machine).tell_to_stop(self)
            return False
        asked = self.state is _S.REQUESTED
        self._move(_T.CANCEL)
        error = CancelledError(f"activity {self.definition.name} was cancelled")
        if asked:
            self._record_cancel(kind != "abandon")
        elif self.timer is not None:
            timer, self.timer = self.timer, None
            timer.listener = None
            timer.cancel()
        self.reject(error)
        return True

    def _record_cancel(self, stop: bool) -> None:
        machine = self.machine
        work = locals_of(machine)
        begun = work.close(self, stop=stop)
        failure = Failure(message="Activity cancelled")
        failure.canceled_failure_info.SetInParent()
        outcome = LocalOutcome(self.seq, self.attempt if begun else 0, failure=failure)
        machine.emit(LocalMarker(self, self.data(outcome, None, work.activation), outcome))

    def describe(self) -> str:
        return f"local activity {self.definition.name} (id {self.id}, number {self.seq})"


class Locals:
    """The local activities of one run that have not ended. Most runs never have one.

    Attributes:
        open: by number; in the order in which the code asked for them.
        activation: how often the code ran in the workflow task at hand, less one.
    """

    __slots__ = ("_handed_out", "_stop", "activation", "machine", "open", "task")

    def __init__(self, machine: Run) -> None:
        self.machine = machine
        self.open: dict[int, LocalActivity] = {}
        self.activation = 0
        self.task: Any = None
        """The workflow task that is not answered yet."""
        self._handed_out: set[int] = set()
        self._stop: list[int] = []

    def add(self, activity: LocalActivity) -> None:
        """The code asks for it."""
        self.open[activity.seq] = activity

    def tell_to_stop(self, activity: LocalActivity) -> None:
        """The code waits for its end; the worker is to hasten it."""
        if activity.seq in self._handed_out:
            self._stop.append(activity.seq)

    def close(self, activity: LocalActivity, *, stop: bool) -> bool:
        """The code does not wait for it any more. Returns whether the worker had it."""
        del self.open[activity.seq]
        begun = activity.seq in self._handed_out
        self._handed_out.discard(activity.seq)
        if begun and stop:
            self._stop.append(activity.seq)
        return begun

    def work(self, *, urgent: bool, task_timeout_ns: int) -> LocalWork:
        """What is new to the worker."""
        new = [activity for seq, activity in self.open.items() if seq not in self._handed_out]
        self._handed_out.update(activity.seq for activity in new)
        stop, self._stop = self._stop, []
        waiting_to_stop = [activity.seq for activity in new if activity.state is _S.CANCELING]
        return LocalWork([activity.request() for activity in new], [*stop, *waiting_to_stop], urgent, task_timeout_ns)

    def apply(self, report: Report) -> None:
        """Outcomes of the worker: each is an activation of its own. What the code does not wait for is dropped."""
        machine = self.machine
        for outcome in report.outcomes:
            activity = self.open.pop(outcome.seq, None)
            self._handed_out.discard(outcome.seq)
            if activity is None or machine.fiber.done:
                continue
            self.activation += 1
            machine.now_ns = max(machine.now_ns, report.now_ns)
            activity.ended(outcome, machine.now_ns, self.activation)
            machine.fiber.run()
            if machine.violation is not None:
                return

    def replay(self, *, first: bool) -> None:
        """The recorded outcomes of the task at hand, in the order of their markers.

        Markers of one activation go to the code together. That of a cancellation by the code is left by the code
        itself, so what came before is handed out first.

        Args:
            first: those that came with the task's own events, before the code runs; else the others.
        """
        machine, given = self.machine, 0
        for event in machine.ahead():
            is_marker = event.event_type == _MARKER_RECORDED
            data = _data_of(event.marker_recorded_event_attributes) if is_marker else None
            if data is None:
                continue
            cancelled = event.marker_recorded_event_attributes.failure.HasField("canceled_failure_info")
            if (data.activation_index == 0 and not cancelled) is not first:
                continue
            if given and (cancelled or data.activation_index != given):
                machine.fiber.run()
                given = 0
            if machine.fiber.done or machine.violation is not None:
                return
            activity = self.open.get(data.seq)
            if activity is None or (cancelled and activity.state is not _S.CANCELING):
                continue  # the code's own doing, or something it did not ask for: the matching of commands sees that
            self._replay_one(activity, event, data)
            given = data.activation_index
        if given:
            machine.fiber.run()

    def _replay_one(self, activity: LocalActivity, event: HistoryEvent, data: MarkerData) -> None:
        machine = self.machine
        outcome = _outcome_of(event.marker_recorded_event_attributes, data)
        if activity.definition.name != data.activity_type:
            machine.emit(LocalMarker(activity, activity.data(outcome, None, data.activation_index), outcome))
            return  # another one than history's, which the matching of commands will say
        del self.open[data.seq]
        self.activation = data.activation_index
        activity.id = data.activity_id
        if data.complete_time is not None:
            machine.now_ns = max(machine.now_ns, data.complete_time.ns)
        activity.ended(outcome, None, data.activation_index)


def locals_of(machine: Run) -> Locals:
    """The local activities of a run."""
    found = machine.locals
    if not isinstance(found, Locals):
        found = machine.locals = Locals(machine)
    return found


def start_local_activity(
    machine: Run,
    activity: AnyActivity,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    headers: Mapping[str, Payload] | None = None,
) -> LocalActivity:
    """Raises TypeError as the call itself would, PayloadError for an argument that cannot be serialised."""
    machine.check_open()
    if not activity.is_declared:
        check_object(machine, activity)
    bound = activity.bind(args, kwargs)
    machine.activity_count += 1
    try:
        payloads = machine.converter.to_payloads(bound, f"the arguments of activity {activity.name}") if bound else ()
    except PayloadError as error:
        raise machine.not_built(f"activity {activity.name}", error) from error.__cause__
    called = LocalActivity(machine, activity, machine.activity_count, payloads)
    called.headers = headers
    locals_of(machine).add(called)
    return called


def why_not_again(failure: Failure, attempt: int, options: ActivityOptions) -> RetryState:
    """Why this failure was the last word; from what the marker says and the call's options, so replay says the same."""
    if failure.HasField("canceled_failure_info"):
        return RetryState.CANCEL_REQUESTED
    if failure.HasField("timeout_failure_info"):
        passed = failure.timeout_failure_info.timeout_type
        if passed == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE:
            return RetryState.TIMEOUT
    retry = options.retry
    application = failure.application_failure_info
    if application.non_retryable or (retry is not None and application.type in retry.non_retryable_error_types):
        return RetryState.NON_RETRYABLE_FAILURE
    if retry is not None and 0 < retry.maximum_attempts <= attempt:
        return RetryState.MAXIMUM_ATTEMPTS_REACHED
    return RetryState.TIMEOUT


@names_marker(LOCAL_ACTIVITY)
def _words(marker: MarkerRecordedEventAttributes) -> str | None:
    data = _data_of(marker)
    return None if data is None else f"local activity {data.activity_type} (id {data.activity_id}, number {data.seq})"


def _data_of(marker: MarkerRecordedEventAttributes) -> MarkerData | None:
    if marker.marker_name != LOCAL_ACTIVITY or _DATA not in marker.details:
        return None
    payloads = marker.details[_DATA].payloads
    return _decoder.decode(payloads[0].data) if payloads else None


def _outcome_of(marker: MarkerRecordedEventAttributes, data: MarkerData) -> LocalOutcome:
    return LocalOutcome(
        data.seq,
        data.attempt,
        marker.details.get(_RESULT),
        marker.failure if marker.HasField("failure") else None,
        0 if data.backoff is None else data.backoff.ns,
    )


def _moment(ns: int) -> Moment:
    return Moment(*divmod(ns, SECOND_NS))
