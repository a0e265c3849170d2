"""Every error that a user of the SDK can meet, in one family.

Two branches. `FailureError`s travel: they are written into history as
`temporal.api.failure.v1.Failure` messages and come back, perhaps years later and from a worker in
another language, with their cause chain (`sdk/convert/failures.py` maps both ways). The others
are raised where they happen and say what to do.

No name shadows a builtin: a time-out in a workflow is `TimedOutError`. Our `CancelledError` is
an ordinary Exception, unlike asyncio's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.failure.v1 import Failure

from perdure.sdk.choices import Numbered
from perdure.sdk.error_fields import Details, flag, member, message_text, number, text
from perdure.sdk.option_names import lists_options
from perdure.sdk.options import Duration, optional_duration
from perdure.sdk.texts import class_name


class PerdureError(Exception):
    """The root of all errors of this package."""


# --- errors that are written into history -----------------------------------------------------


class FailureError(PerdureError):
    """A failure that history records.

    Attributes:
        message: the text without any decoration.
        stack_trace: the traceback text of where it was raised, perhaps another process; "" when unknown.
        failure: the recorded message it was read from, None for one raised here.

    The cause chain is Python's own: `error.__cause__`, also `error.cause`. All kinds of it raise TypeError where they
    are made of something that history cannot hold, such as a number for a message.
    """

    message: str = ""
    stack_trace: str = ""
    failure: Failure | None = None

    def __init__(self, message: str | BaseException) -> None:
        self.message = message_text(message, f"the message of {class_name(self)}")
        super().__init__(self.message)

    @property
    def cause(self) -> BaseException | None:
        """What this was raised from."""
        return self.__cause__

    @property
    def root(self) -> BaseException:
        """The last of the cause chain."""
        error: BaseException = self
        seen: set[int] = set()
        while error.__cause__ is not None and id(error) not in seen:
            seen.add(id(error))
            error = error.__cause__
        return error


@lists_options
class ApplicationError(FailureError):
    """A failure of the user's own code; raise it to say how it is to be retried.

    Args:
        message: for people; an exception stands for its text.
        type: for programs and for `Retry.non_retryable_error_types`; default "ApplicationError".
        non_retryable: never try again, whatever the retry policy says.
        next_retry_delay: instead of the policy's next back-off.
        details: a list of values that are kept with the failure; each must be serialisable.

    Raises:
        TypeError, ValueError: at once, naming the argument.

    Reading `details` of a recorded failure raises PayloadError where they do not decode.
    """

    type: str = "ApplicationError"
    non_retryable: bool = False
    next_retry_delay_ns: int | None = None
    details = Details()

    def __init__(
        self,
        message: str | BaseException,
        *,
        type: str | None = None,
        non_retryable: bool = False,
        next_retry_delay: Duration | None = None,
        details: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.type = "ApplicationError" if type is None else text(type, "type") or "ApplicationError"
        self.non_retryable = flag(non_retryable, "non_retryable")
        self.next_retry_delay_ns = optional_duration(next_retry_delay, "next_retry_delay")
        self.details = details

    def __str__(self) -> str:
        return self.message if self.type == "ApplicationError" else f"{self.type}: {self.message}"


class TimeoutType(Numbered):
    """Which of an activity's (or a workflow's) time-outs passed."""

    UNKNOWN = "unknown", 0
    START_TO_CLOSE = "start_to_close", 1
    SCHEDULE_TO_START = "schedule_to_start", 2
    SCHEDULE_TO_CLOSE = "schedule_to_close", 3
    HEARTBEAT = "heartbeat", 4

    @classmethod
    def _missing_(cls, value: object) -> TimeoutType | None:
        known = super()._missing_(value)
        return cls.UNKNOWN if known is None and isinstance(value, int) else known  # a number of a later Temporal


class TimedOutError(FailureError):
    """A time-out passed. `last_heartbeat_details`: what the activity had last reported."""

    timeout_type: TimeoutType = TimeoutType.UNKNOWN
    last_heartbeat_details = Details()

    def __init__(
        self,
        message: str | BaseException,
        *,
        timeout_type: TimeoutType = TimeoutType.UNKNOWN,
        last_heartbeat_details: Sequence[Any] = (),
    ) -> None:
        super().__init__(message)
        self.timeout_type = member(timeout_type, TimeoutType, "timeout_type")
        self.last_heartbeat_details = last_heartbeat_details


class CancelledError(FailureError):
    """The workflow, or the activity, was asked to stop and did."""

    details = Details()

    def __init__(self, message: str | BaseException = "Cancelled", *, details: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.details = details


class TerminatedError(FailureError):
    """The workflow was ended from outside, without a chance to clean up."""

    details = Details()

    def __init__(self, message: str | BaseException = "Terminated", *, details: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.details = details


class ServerError(FailureError):
    """The server itself failed the work."""

    non_retryable: bool = False

    def __init__(self, message: str | BaseException, *, non_retryable: bool = False) -> None:
        super().__init__(message)
        self.non_retryable = flag(non_retryable, "non_retryable")


class RetryState(Numbered):
    """Why an activity was not tried again."""

    UNKNOWN = "unknown", 0
    IN_PROGRESS = "in_progress", 1
    NON_RETRYABLE_FAILURE = "non_retryable_failure", 2
    TIMEOUT = "timeout", 3
    MAXIMUM_ATTEMPTS_REACHED = "maximum_attempts_reached", 4
    RETRY_POLICY_NOT_SET = "retry_policy_not_set", 5
    INTERNAL_SERVER_ERROR = "internal_server_error", 6
    CANCEL_REQUESTED = "cancel_requested", 7

    @classmethod
    def _missing_(cls, value: object) -> RetryState | None:
        known = super()._missing_(value)
        return cls.UNKNOWN if known is None and isinstance(value, int) else known  # a number of a later Temporal


class ActivityError(FailureError):
    """An activity failed for good; why is its cause (ApplicationError, TimedOutError, CancelledError).

    `str()` tells both, so that a log line is enough.
    """

    activity_type: str = ""
    activity_id: str = ""
    scheduled_event_id: int = 0
    started_event_id: int = 0
    identity: str = ""
    retry_state: RetryState = RetryState.UNKNOWN

    def __init__(
        self,
        message: str | BaseException,
        *,
        activity_type: str,
        activity_id: str = "",
        scheduled_event_id: int = 0,
        started_event_id: int = 0,
        identity: str = "",
        retry_state: RetryState = RetryState.UNKNOWN,
    ) -> None:
        super().__init__(message)
        self.activity_type = text(activity_type, "activity_type")
        self.activity_id = text(activity_id, "activity_id")
        self.scheduled_event_id = number(scheduled_event_id, "scheduled_event_id")
        self.started_event_id = number(started_event_id, "started_event_id")
        self.identity = text(identity, "identity")
        self.retry_state = member(retry_state, RetryState, "retry_state")

    def __str__(self) -> str:
        why = f": {self.__cause__}" if self.__cause__ is not None else ""
        return f"activity {self.activity_type} failed{why}"


class ChildWorkflowError(FailureError):
    """A child workflow closed without a result, or could not be started; why is its cause."""

    workflow_type: str = ""
    workflow_id: str = ""
    run_id: str = ""
    namespace: str = ""
    initiated_event_id: int = 0
    started_event_id: int = 0
    retry_state: RetryState = RetryState.UNKNOWN

    def __init__(
        self,
        message: str | BaseException,
        *,
        workflow_type: str,
        workflow_id: str = "",
        run_id: str = "",
        namespace: str = "",
        initiated_event_id: int = 0,
        started_event_id: int = 0,
        retry_state: RetryState = RetryState.UNKNOWN,
    ) -> None:
        super().__init__(message)
        self.workflow_type = text(workflow_type, "workflow_type")
        self.workflow_id = text(workflow_id, "workflow_id")
        self.run_id = text(run_id, "run_id")
        self.namespace = text(namespace, "namespace")
        self.initiated_event_id = number(initiated_event_id, "initiated_event_id")
        self.started_event_id = number(started_event_id, "started_event_id")
        self.retry_state = member(retry_state, RetryState, "retry_state")

    def __str__(self) -> str:
        why = f": {self.__cause__}" if self.__cause__ is not None else ""
        return f"child workflow {self.workflow_type} ({self.workflow_id}) failed{why}"


# --- errors of starting and of asking for results ----------------------------------------------


class WorkflowFailedError(PerdureError):
    """What `result()` raises when a run closed without a result; why is its cause.

    The cause is an ApplicationError or ActivityError (failed), CancelledError, TerminatedError or
    TimedOutError.
    """

    def __init__(self, message: str, *, workflow_id: str, run_id: str, workflow_type: str = "") -> None:
        super().__init__(message)
        self.workflow_id = workflow_id
        self.run_id = run_id
        self.workflow_type = workflow_type

    @property
    def cause(self) -> BaseException | None:
        """Why the run failed."""
        return self.__cause__


class WorkflowAlreadyStartedError(PerdureError):
    """The id is taken, and the policies given (or another workflow type) forbid to share it."""

    def __init__(self, message: str, *, workflow_id: str, run_id: str = "", workflow_type: str = "") -> None:
        super().__init__(message)
        self.workflow_id = workflow_id
        self.run_id = run_id
        self.workflow_type = workflow_type


class QueryFailedError(PerdureError):
    """A query's handler raised, or there is none; the cause says why. The workflow is as it was."""

    def __init__(self, message: str, *, query: str) -> None:
        super().__init__(message)
        self.query = query


class UpdateFailedError(PerdureError):
    """An update was rejected, or its handler raised; the cause says why."""

    def __init__(self, message: str, *, update: str, update_id: str) -> None:
        super().__init__(message)
        self.update = update
        self.update_id = update_id

    @property
    def cause(self) -> BaseException | None:
        """What the validator or the handler raised."""
        return self.__cause__


class WorkflowNotFoundError(PerdureError):
    """No such workflow id or run, or it is closed already and cannot be asked for that."""


class InterventionNotFoundError(PerdureError):
    """No entry of that id waits: it was decided before, or its run has ended."""


class ScheduleNotFoundError(PerdureError):
    """No such schedule id."""


class ScheduleAlreadyExistsError(PerdureError):
    """There is a schedule of that id; delete it first, or choose another id."""


class EngineError(PerdureError):
    """The engine or the server cannot do it now: closed, unreachable, misused. The message says what to do."""


class EngineClosedError(EngineError):
    """The engine was closed before, or while, this was asked of it."""


# --- errors of workflow and activity code --------------------------------------------------------


class PayloadError(PerdureError):
    """A value that cannot be turned into bytes, or back: the message names the type and the path to it."""


class PayloadCodecError(PayloadError):
    """A codec failed on a value; the cause says how. The value may be fine, so that trying again may help."""


class PayloadTooLargeError(PayloadError):
    """A value is larger than a payload may be; the message names its size, the limit and what to do."""


class NonDeterminismError(PerdureError):
    """The code no longer does what its history says: names the event, the command and the line.

    Attributes:
        event_id: where they part; None: behind the last event.
        history: what history says there.
        code: what the code does there, and its file and line where there is one.
    """

    def __init__(self, message: str, *, event_id: int | None = None, history: str = "", code: str = "") -> None:
        super().__init__(message)
        self.event_id = event_id
        self.history = history
        self.code = code


class DeterminismViolation(PerdureError):
    """Workflow code asked the world for something that replay could not repeat; names what to use instead."""


class WorkflowBlockedError(PerdureError):
    """Workflow code held its thread for longer than the deadlock limit; names the file and line."""

    def __init__(self, message: str, *, stack_trace: str = "") -> None:
        super().__init__(message)
        self.stack_trace = stack_trace


class DefinitionError(PerdureError, ValueError):
    """A workflow or activity is declared wrongly: two of one name, an impossible option."""


class UnknownTypeError(PerdureError, LookupError):
    """No workflow or activity of that name is registered here, or two are; the message says which."""
