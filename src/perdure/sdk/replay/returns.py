"""Finds the line at which workflow code returned. Used when it returned too early, and only then.

A profile hook sees every return, at a price; so a replay is watched by it only when it is already
known to end in a NonDeterminismError that wants that line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure.sdk.errors import NonDeterminismError
from perdure.sdk.replay.completion import Completion
from perdure.sdk.replay.entry import Site

if TYPE_CHECKING:
    from perdure.sdk.replay.machine import WorkflowMachine


class ReturnWatch:
    """Runs code and keeps the line at which one function last returned."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._code = getattr(fn, "__code__", None)
        self.site: Site | None = None

    def run(self, work: Callable[[], None]) -> None:
        """Run `work` watched; what it raises is raised."""
        outer = sys.getprofile()
        sys.setprofile(self._saw)
        try:
            work()
        finally:
            sys.setprofile(outer)

    def _saw(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "return" and frame.f_code is self._code:
            self.site = frame.f_code, frame.f_lineno


def with_return_site(
    machine: WorkflowMachine, task: PollWorkflowTaskQueueResponse, error: NonDeterminismError
) -> NonDeterminismError:
    """Where code returned too early is not known afterwards: replay once more, with an eye on returns.

    No cost to any other replay. The second one is thrown away.
    """
    returned = any(isinstance(entry, Completion) and entry.error is None for entry in machine.produced)
    if not returned or machine.watch is not None or task.history.events[0].event_id != 1:
        return error
    again = type(machine)(
        machine.definition, machine.converter, namespace=machine.namespace, task_queue=machine.task_queue,
        guard=machine.guard,
    )  # fmt: skip
    again.watch = ReturnWatch(machine.definition.fn)
    outcome = again.process(task)
    again.close()
    return outcome.error if isinstance(outcome.error, NonDeterminismError) else error
