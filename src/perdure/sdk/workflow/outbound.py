"""The end of a run's outbound chain of interceptors: where what the code asks for is really asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

from perdure.sdk.declare.startable import ChildOptions
from perdure.sdk.interceptors import (
    ContinueAsNewInput,
    Interceptor,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartTimerInput,
    WorkflowChain,
    WorkflowOutboundInterceptor,
)
from perdure.sdk.replay.activity import schedule_activity
from perdure.sdk.replay.local_activity import start_local_activity
from perdure.sdk.replay.run import Run
from perdure.sdk.workflow.children import begin_child, continue_as_new, signal_external
from perdure.sdk.workflow.handles import ActivityHandle, handle_of
from perdure.sdk.workflow.timers import as_asked


class OutboundRoot(WorkflowOutboundInterceptor):
    """Asks the run."""

    def __init__(self, machine: Run) -> None:
        self._machine = machine

    def start_activity(self, input: StartActivityInput) -> Any:
        """A handle."""
        machine = self._machine
        return handle_of(
            machine, schedule_activity(machine, input.activity, tuple(input.args), {}, input.headers), ActivityHandle
        )

    def start_local_activity(self, input: StartActivityInput) -> Any:
        """A handle."""
        machine = self._machine
        return handle_of(
            machine, start_local_activity(machine, input.activity, tuple(input.args), {}, input.headers), ActivityHandle
        )

    def start_child_workflow(self, input: StartChildWorkflowInput) -> Any:
        """A child's handle."""
        options = cast(ChildOptions, input.options)
        return begin_child(self._machine, input.workflow, tuple(input.args), options, input.headers)

    def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> Any:
        """An awaitable."""
        return signal_external(self._machine, input)

    def start_timer(self, input: StartTimerInput) -> Any:
        """A handle."""
        return as_asked(self._machine, input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        """The end of the run."""
        continue_as_new(self._machine, input)


def composer(interceptors: Sequence[Interceptor]) -> Callable[[Any], WorkflowChain] | None:
    """What makes the chain of each run; None for no interceptors."""
    return (lambda machine: WorkflowChain(interceptors, OutboundRoot(machine))) if interceptors else None
