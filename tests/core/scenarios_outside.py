"""Plays with more than one workflow, or with signals; see `scenarios`.

The workflow under test is `order-1001`. Others are known by the id that they are given in a command; they
poll the queue `kid`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from temporalio.api.command.v1 import Command

from tests.core import given
from tests.core.post import cancel_external, signal_external, start_child
from tests.core.scenarios import Stage


class OutsideStage(Stage, Protocol):
    """A stage with other workflows on it."""

    def signal(self, **fields: Any) -> None: ...
    def signal_with_start(self, **fields: Any) -> None: ...
    def refused_signal(self, **fields: Any) -> None:
        """`refusals` keeps the code and the message."""
        ...

    def settle(self) -> None:
        """Messages between workflows arrive."""
        ...

    def other_task(self, workflow_id: str = "kid") -> Any: ...
    def complete_other(self, token: Any, *commands: Command) -> None: ...
    def start_other(self, workflow_id: str = "kid") -> None: ...
    def terminate_other(self, workflow_id: str = "kid") -> None: ...


def others_with_something_to_read(outside: OutsideStage) -> None:
    outside.start()
    for command in (start_child(), signal_external("nobody"), cancel_external("nobody")):
        outside.complete_task(outside.workflow_task(), given.told(command))
        outside.settle()
    outside.terminate()
    outside.settle()


def signaled_before_the_first_task(outside: OutsideStage) -> None:
    outside.start()
    outside.signal(header=given.header("h"))
    outside.complete_task(outside.workflow_task())
    outside.signal()
    outside.complete_task(outside.workflow_task(), given.complete())


def signal_is_buffered(outside: OutsideStage) -> None:
    outside.start()
    token = outside.workflow_task()
    outside.signal(request_id="same")
    outside.signal(request_id="same")
    outside.refused_task(token, given.complete())
    outside.complete_task(outside.workflow_task(), given.complete())


def signals_wait_while_the_run_closes(outside: OutsideStage) -> None:
    outside.start()
    token = outside.workflow_task()
    outside.signal()
    outside.refused_task(token, given.continue_as_new())
    outside.signal()
    token = outside.workflow_task()
    outside.refused_signal()
    outside.complete_task(token)
    outside.signal()
    token = outside.workflow_task()
    outside.signal()
    outside.refused_task(token, given.complete())
    token = outside.workflow_task()
    outside.refused_signal()
    outside.fail_task(token)
    token = outside.workflow_task()
    outside.signal()
    outside.complete_task(token)
    outside.complete_task(outside.workflow_task(), given.complete())


def signaled_during_the_start_delay(outside: OutsideStage) -> None:
    outside.start(workflow_start_delay=2.0)
    outside.signal()
    outside.elapse(2)
    outside.complete_task(outside.workflow_task(), given.complete())


def signal_with_start_starts_and_signals(outside: OutsideStage) -> None:
    outside.signal_with_start(request_id="one")
    outside.signal_with_start(request_id="two")
    outside.complete_task(outside.workflow_task(), given.complete())


def signal_with_start_ends_the_start_delay(outside: OutsideStage) -> None:
    outside.signal_with_start(request_id="one", workflow_start_delay=30.0)
    outside.signal_with_start(request_id="two")
    outside.complete_task(outside.workflow_task(), given.complete())


def _with_child(outside: OutsideStage, **fields: Any) -> None:
    """Its start is told, and the parent waits."""
    outside.start()
    outside.complete_task(outside.workflow_task(), start_child(**fields))
    outside.settle()
    outside.complete_task(outside.workflow_task())


def child_completes(outside: OutsideStage) -> None:
    _with_child(
        outside,
        workflow_run_timeout=50.0,
        header=given.header("h"),
        memo=given.memo("m"),
        control="control",
        retry_policy=given.retry(initial=3),
    )
    outside.complete_other(outside.other_task(), given.complete())
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def child_fails(outside: OutsideStage) -> None:
    _with_child(outside, workflow_execution_timeout=40.0)
    outside.complete_other(outside.other_task(), given.fail())
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def child_times_out(outside: OutsideStage) -> None:
    _with_child(outside, workflow_run_timeout=3.0)
    outside.elapse(3)
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def child_is_terminated(outside: OutsideStage) -> None:
    _with_child(outside)
    outside.terminate_other()
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def child_is_canceled(outside: OutsideStage) -> None:
    _with_child(outside)
    outside.signal()
    outside.complete_task(outside.workflow_task(), cancel_external(child_workflow_only=True))
    outside.settle()
    outside.complete_task(outside.workflow_task())
    outside.complete_other(outside.other_task(), given.cancel())
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def child_id_is_in_use(outside: OutsideStage) -> None:
    outside.start_other()
    outside.start()
    outside.complete_task(outside.workflow_task(), start_child(control="control"))
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def child_is_terminated_by_its_parents_end(outside: OutsideStage) -> None:
    _with_child(outside)
    outside.signal()
    outside.complete_task(outside.workflow_task(), given.complete())
    outside.settle()


def child_is_canceled_by_its_parents_end(outside: OutsideStage) -> None:
    _with_child(outside, parent_close_policy=3)
    outside.terminate()
    outside.settle()


def child_is_abandoned_by_its_parents_end(outside: OutsideStage) -> None:
    _with_child(outside, parent_close_policy=2)
    outside.terminate()
    outside.settle()


def child_that_was_never_started(outside: OutsideStage) -> None:
    """The parent closes in the task that asked for it, and no message goes out."""
    outside.start()
    outside.complete_task(
        outside.workflow_task(),
        start_child(),
        start_child("abandoned", parent_close_policy=2),
        signal_external("nobody"),
        given.complete(),
    )
    outside.settle()


def child_ends_behind_a_running_task(outside: OutsideStage) -> None:
    """Closing events of children go last."""
    _with_child(outside)
    outside.signal()
    token = outside.workflow_task()
    outside.complete_other(outside.other_task(), given.complete())
    outside.settle()
    outside.signal()
    outside.complete_task(token)
    outside.complete_task(outside.workflow_task(), given.complete())


def child_starts_and_ends_behind_a_running_task(outside: OutsideStage) -> None:
    outside.start()
    outside.complete_task(outside.workflow_task(), start_child(), given.schedule())
    outside.settle()
    token = outside.workflow_task()
    outside.complete_other(outside.other_task(), given.complete())
    outside.settle()
    outside.complete_task(token)
    outside.complete_task(outside.workflow_task(), given.complete())


def child_continues_as_new(outside: OutsideStage) -> None:
    _with_child(outside)
    outside.complete_other(outside.other_task(), given.continue_as_new())
    outside.elapse(1)
    outside.complete_other(outside.other_task(), given.complete())
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def child_is_retried(outside: OutsideStage) -> None:
    _with_child(outside, retry_policy=given.retry(initial=1, attempts=2))
    outside.complete_other(outside.other_task(), given.fail())
    outside.elapse(1)
    outside.complete_other(outside.other_task(), given.fail())
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def child_without_an_id(outside: OutsideStage) -> None:
    outside.start()
    outside.refused_task(outside.workflow_task(), start_child(""))
    outside.terminate()


def child_without_a_type(outside: OutsideStage) -> None:
    outside.start()
    command = start_child()
    command.start_child_workflow_execution_command_attributes.workflow_type.name = ""
    outside.refused_task(outside.workflow_task(), command)
    outside.terminate()


def child_with_a_bad_time_out(outside: OutsideStage) -> None:
    outside.start()
    outside.refused_task(outside.workflow_task(), start_child(workflow_run_timeout=-1.0))
    outside.terminate()


def child_started_and_canceled_at_once(outside: OutsideStage) -> None:
    outside.start()
    outside.refused_task(outside.workflow_task(), start_child(), cancel_external())
    outside.terminate()


def external_signaled(outside: OutsideStage) -> None:
    outside.start_other()
    outside.start()
    outside.complete_task(outside.workflow_task(), signal_external(header=given.header("h"), namespace="default"))
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def unknown_external_signaled(outside: OutsideStage) -> None:
    outside.start()
    outside.complete_task(outside.workflow_task(), signal_external("nobody"))
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def external_that_is_no_child_signaled(outside: OutsideStage) -> None:
    outside.start_other()
    outside.start()
    outside.complete_task(outside.workflow_task(), signal_external(child_workflow_only=True))
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def itself_signaled(outside: OutsideStage) -> None:
    outside.start()
    outside.complete_task(outside.workflow_task(), signal_external("order-1001"))
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def closed_external_canceled(outside: OutsideStage) -> None:
    outside.start_other()
    outside.terminate_other()
    outside.start()
    outside.complete_task(outside.workflow_task(), cancel_external())
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def closed_external_signaled(outside: OutsideStage) -> None:
    outside.start_other()
    outside.terminate_other()
    outside.start()
    outside.complete_task(outside.workflow_task(), signal_external())
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def external_canceled(outside: OutsideStage) -> None:
    outside.start_other()
    outside.start()
    outside.complete_task(outside.workflow_task(), cancel_external())
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def unknown_external_canceled(outside: OutsideStage) -> None:
    outside.start()
    outside.complete_task(outside.workflow_task(), cancel_external("nobody", control="control"))
    outside.settle()
    outside.complete_task(outside.workflow_task(), given.complete())


def signal_without_a_name(outside: OutsideStage) -> None:
    outside.start()
    outside.refused_task(outside.workflow_task(), signal_external(signal_name=""))
    outside.terminate()


def signal_to_no_workflow(outside: OutsideStage) -> None:
    outside.start()
    outside.refused_task(outside.workflow_task(), signal_external(""))
    outside.terminate()


def signal_to_no_run(outside: OutsideStage) -> None:
    outside.start()
    command = signal_external("nobody")
    command.signal_external_workflow_execution_command_attributes.execution.run_id = "7"
    outside.refused_task(outside.workflow_task(), command)
    outside.terminate()


def cancellation_of_no_workflow(outside: OutsideStage) -> None:
    outside.start()
    outside.refused_task(outside.workflow_task(), cancel_external(""))
    outside.terminate()


def cancellation_of_no_run(outside: OutsideStage) -> None:
    outside.start()
    outside.refused_task(outside.workflow_task(), cancel_external("nobody", run_id="7"))
    outside.terminate()


OUTSIDE_SCENARIOS: dict[str, Callable[[OutsideStage], None]] = {
    name: value
    for name, value in list(globals().items())
    if getattr(value, "__annotations__", {}).get("outside") and not name.startswith("_")
}
