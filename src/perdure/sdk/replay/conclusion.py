"""What the end of the code comes to: the run's last command, or a failure of the workflow task."""

from __future__ import annotations

from perdure.sdk.convert import failure_of
from perdure.sdk.errors import EngineError, FailureError, PayloadError
from perdure.sdk.replay import mismatch
from perdure.sdk.replay.completion import Completion, ContinueAsNew, Ending, fails_run, is_cancellation
from perdure.sdk.replay.flags import Flag
from perdure.sdk.replay.run import Run
from perdure.sdk.texts import class_name, text_of


def conclude(machine: Run) -> None:
    """The code ended: its last command, or a failure of the task when it raised what no one foresaw."""
    error = machine.fiber.error
    replaying = machine.replaying
    if not replaying and (error is None or isinstance(error, ContinueAsNew)):
        # A history that has an end keeps it, and another error says more.
        never_awaited = machine.fiber.never_awaited()
        if never_awaited is not None:
            raise never_awaited
    if error is None:
        entry = Completion(Ending.COMPLETE, None)
        if not replaying:
            what = f"the result of workflow {machine.definition.name}"
            payloads = machine.converter.to_payloads((machine.fiber.value,), what)
            attributes = entry.new_command().complete_workflow_execution_command_attributes
            attributes.result.payloads.extend(payloads)
    elif isinstance(error, ContinueAsNew):
        entry = Completion(Ending.CONTINUE_AS_NEW, None)
        if not replaying:
            try:
                entry.continue_as_new(error, machine)
            except PayloadError as problem:
                raise problem.with_traceback(error.__traceback__) from problem.__cause__  # where the code asked for it
    elif _cancels_run(machine, error):
        entry = Completion(Ending.CANCEL, error)
        if not replaying:
            entry.new_command().cancel_workflow_execution_command_attributes.SetInParent()
    elif fails_run(error, (FailureError, TimeoutError, *machine.definition.fail_on)):
        entry = Completion(Ending.FAIL, error)
        if not replaying:
            failure = failure_of(error, machine.converter)
            entry.new_command().fail_workflow_execution_command_attributes.failure.CopyFrom(failure)
    elif replaying:
        event = machine.event_at(2 + len(machine.produced))
        raise mismatch.disagreement(event, mismatch.raised_text(error), error)
    else:
        raise error if isinstance(error, Exception) else as_exception(error)
    machine.produced.append(entry)


def _cancels_run(machine: Run, error: BaseException) -> bool:
    """Whether a run that was asked to stop has, by this error."""
    if not machine.cancel_requested or not is_cancellation(error):
        return False
    return not isinstance(error, BaseExceptionGroup) or machine.uses(Flag.CANCELLATION_KEPT)


def as_exception(error: BaseException) -> Exception:
    """SystemExit and its like, raised by workflow code, fail the task as any bug does, with the line that raised it."""
    wrapped = EngineError(f"workflow code raised {class_name(error)}: {text_of(error)}")
    wrapped.__cause__ = error
    return wrapped.with_traceback(error.__traceback__)
