"""Messages between workflows: each may come twice, too early or too late, and still counts once."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.api import enums
from perdure.api.errors import Rejected
from perdure.core import child, external
from perdure.core import commands as law
from perdure.core.limits import Limits
from perdure.core.message import ChildClosed, CloseChild, Origin, StartChild, message_id
from tests.core import given
from tests.core.given import World, names, refused
from tests.core.post import Post, cancel_external, signal_external, start_child
from tests.core.scenarios_outside import OUTSIDE_SCENARIOS
from tests.core.test_oracle import CoreStage


class TwiceStage(CoreStage):
    """The post delivers everything twice."""

    def settle(self) -> None:
        self.post.deliver_all(times=2)


@pytest.mark.parametrize("name", OUTSIDE_SCENARIOS)
def test_messages_that_come_twice_change_nothing(name: str) -> None:
    once, twice = CoreStage(), TwiceStage()
    OUTSIDE_SCENARIOS[name](once)
    OUTSIDE_SCENARIOS[name](twice)
    for workflow_id, world in once.post.worlds.items():
        again = twice.post.worlds[workflow_id]
        assert [names(events) for _, events in world.runs] == [names(events) for _, events in again.runs]


def family(**fields: Any) -> tuple[Post, World]:
    """A parent that has sent for its child; the message waits."""
    post = Post()
    parent = post.world("order-1001")
    parent.start()
    parent.complete_task(parent.workflow_task(), start_child(**fields))
    return post, parent


def test_a_child_may_end_before_its_parent_knows_that_it_started() -> None:
    post, parent = family()
    [sent] = post.waiting
    assert isinstance(sent.body, StartChild)
    post.waiting.clear()
    kid = post.world("kid")
    kid.ask(law.StartWorkflow(given.start_request(workflow_id="kid"), sent.body.parent, "order-1001", "run"))
    kid.complete_task(kid.workflow_task(), given.complete())
    post.deliver_all()
    assert parent.tail(3) == [
        "ChildWorkflowExecutionStarted",
        "ChildWorkflowExecutionCompleted",
        "WorkflowTaskScheduled",
    ]
    assert sent.id in post.removed
    late = law.ResolveChildStart(sent.body.parent.event_id, sent.id, kid.run.key.run_id)
    assert not parent.when(late).changed


def test_a_child_that_starts_while_its_parent_closes_is_closed_too() -> None:
    post, parent = family()
    [start] = post.waiting
    parent.terminate()
    assert start.id in post.removed
    [close] = [message for message in post.waiting if message is not start]
    assert isinstance(close.body, CloseChild)
    post.deliver(start)  # it was on its way
    post.deliver(close)
    assert names(post.world("kid").history)[-1] == "WorkflowExecutionTerminated"


def test_a_parents_end_does_not_touch_a_workflow_that_only_has_the_childs_id() -> None:
    post, parent = family()
    post.waiting.popleft()
    parent.terminate()
    kid = post.world("kid")
    kid.ask(law.StartWorkflow(given.start_request(workflow_id="kid")))
    post.deliver_all()
    assert kid.run.is_open


def test_a_start_that_comes_again_after_the_child_continued_as_new_is_the_same_start() -> None:
    post, _ = family()
    [start] = list(post.waiting)
    post.deliver_all()
    kid = post.world("kid")
    first = kid.run.key.run_id
    kid.complete_task(kid.workflow_task("kid"), given.continue_as_new())
    assert isinstance(start.body, StartChild)
    reply = kid.ask(law.StartWorkflow(given.start_request(workflow_id="kid"), start.body.parent))
    assert (reply.run_id, reply.first_run_id, reply.created) == (kid.run.key.run_id, first, False)


def test_a_signal_from_a_workflow_names_it_and_is_told_once() -> None:
    post = Post()
    post.world("kid").start(workflow_id="kid")
    sender = post.world("order-1001")
    sender.start()
    sender.complete_task(sender.workflow_task(), signal_external(), cancel_external())
    post.deliver_all(times=3)
    kid = post.world("kid")
    assert names(kid.history)[2:] == ["WorkflowExecutionSignaled", "WorkflowExecutionCancelRequested"]
    said = kid.history[2].workflow_execution_signaled_event_attributes
    assert said.external_workflow_execution.workflow_id == "order-1001"
    assert said.request_id == message_id(sender.run.key, 5, "signal")
    assert sender.run.externals == {}


def test_an_answer_waits_behind_the_running_task() -> None:
    post = Post()
    sender = post.world("order-1001")
    sender.start()
    sender.complete_task(
        sender.workflow_task(), signal_external("nobody"), start_child(), force_create_new_workflow_task=True
    )
    task = sender.workflow_task()
    post.deliver_all(times=2)
    assert len(sender.run.facts.buffered) == 2
    assert (sender.run.facts.settled, sender.run.facts.starting) == ({5}, {6})
    sender.complete_task(task)
    assert sender.tail(3) == [
        "SignalExternalWorkflowExecutionFailed",
        "ChildWorkflowExecutionStarted",
        "WorkflowTaskScheduled",
    ]


def test_a_running_task_and_the_end_leave_nothing_pending() -> None:
    """Buffered answers enter history before the closing event."""
    post = Post()
    sender = post.world("order-1001")
    sender.start()
    sender.complete_task(
        sender.workflow_task(), signal_external("nobody"), start_child(), force_create_new_workflow_task=True
    )
    sender.workflow_task()
    post.deliver_all()
    sender.terminate()
    assert sender.tail(4) == [
        "WorkflowTaskFailed",
        "SignalExternalWorkflowExecutionFailed",
        "ChildWorkflowExecutionStarted",
        "WorkflowExecutionTerminated",
    ]
    post.deliver_all()
    assert not post.world("kid").run.is_open


def test_answers_after_the_end_are_refused() -> None:
    post, parent = family()
    parent.terminate()
    for command in (
        law.ResolveChildStart(5, "id", "run"),
        law.ResolveExternal(5, "id"),
        law.ChildClosed(ChildClosed(5, "kid", "package", "run", "run", b"", "run"), "id"),
    ):
        [reply] = parent.when(command).replies
        assert isinstance(reply, Rejected)
        assert reply.message == "workflow execution already completed"
    assert len(post.waiting) == 2


def test_what_is_pending_at_the_end_is_taken_back() -> None:
    post = Post()
    sender = post.world("order-1001")
    sender.start()
    sender.complete_task(sender.workflow_task(), signal_external("nobody"), cancel_external("nobody"))
    sent = {message.id for message in post.waiting}
    sender.terminate()
    assert post.removed == sent


def test_only_a_parent_reaches_a_child_only_workflow() -> None:
    post = Post()
    kid = post.world("kid")
    kid.start(workflow_id="kid")
    stranger = Origin("default", "order-1001", "run", 5)
    request = given.signal_request()
    rejected = refused(lambda: kid.ask(law.Signal(request, stranger, child_only=True)))
    assert rejected.message == "workflow execution not found"


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (start_child("other"), "PendingChildWorkflowsLimitExceeded"),
        (signal_external("other"), "PendingSignalsLimitExceeded"),
        (cancel_external("other"), "PendingRequestCancelLimitExceeded"),
    ],
)
def test_pending_ones_are_bounded(command: Any, cause: str) -> None:
    world = World(Limits(pending_children=1, pending_externals=1))
    world.start()
    first = [start_child(), signal_external()]
    world.complete_task(world.workflow_task(), *first, force_create_new_workflow_task=True)
    task = world.workflow_task()
    assert refused(lambda: world.complete_task(task, command)).message.startswith(f"{cause}: the number of pending")


@pytest.mark.parametrize(
    "fields",
    [
        {"workflow_id": "x" * 1001},
        {"cron_schedule": "now and then"},
        {"retry_policy": given.retry(initial=-1)},
        {"memo": given.memo("m" * (3 << 20))},
        {"parent_close_policy": 9},
        {"workflow_id_reuse_policy": 9},
    ],
)
def test_children_that_can_never_be_started_fail_the_task(fields: dict[str, Any]) -> None:
    world = World()
    world.start()
    task = world.workflow_task()
    command = start_child()
    given.fill(command.start_child_workflow_execution_command_attributes, fields)
    assert refused(lambda: world.complete_task(task, command)).message.startswith("BadStartChildExecutionAttributes")


@pytest.mark.parametrize("command", [signal_external("x" * 1001), cancel_external("x" * 1001)])
def test_ids_that_are_too_long_fail_the_task(command: Any) -> None:
    world = World()
    world.start()
    task = world.workflow_task()
    assert "exceeds length limit" in refused(lambda: world.complete_task(task, command)).message


@pytest.mark.parametrize(
    "message", [signal_external(child_workflow_only=True), cancel_external(child_workflow_only=True)]
)
@pytest.mark.parametrize("starts", [True, False])
def test_what_overtakes_the_start_of_a_child_waits_for_it(message: Any, starts: bool) -> None:
    """Sent by one node, while another one that is dead was to deliver the start."""
    post, parent = family()
    [start] = post.waiting
    post.waiting.clear()
    parent.when(law.Signal(given.signal_request()))
    parent.complete_task(parent.workflow_task(), message)
    [early] = post.waiting
    post.waiting.clear()
    post.deliver(early)
    assert list(post.waiting) == [early]
    assert parent.tail(1)[0].endswith("ExternalWorkflowExecutionInitiated")
    if not starts:
        post.world("kid").start(workflow_id="kid")
    post.waiting.appendleft(start)
    post.deliver_all()
    what = "Signaled" if "signal" in str(message) else "CancelRequested"
    assert (f"WorkflowExecution{what}" in names(post.world("kid").runs[0][1])) == starts
    told = [name for name in names(parent.runs[0][1]) if "External" in name or "ChildWorkflow" in name]
    failed = "Signal" if what == "Signaled" else "RequestCancel"
    assert told[2:] == (
        ["ChildWorkflowExecutionStarted", f"ExternalWorkflowExecution{what}"]
        if starts
        else ["StartChildWorkflowExecutionFailed", f"{failed}ExternalWorkflowExecutionFailed"]
    )


def test_who_asks_for_any_workflow_of_that_id_does_not_wait_for_a_child() -> None:
    post, parent = family()
    post.waiting.clear()
    parent.when(law.Signal(given.signal_request()))
    parent.complete_task(parent.workflow_task(), signal_external())
    post.deliver_all()
    assert "SignalExternalWorkflowExecutionFailed" in parent.tail(3)


def test_signals_beyond_the_window_are_forgotten_oldest_first() -> None:
    world = World(Limits(signal_request_ids=2))
    world.start()
    for request_id in ("a", "b", "c", "c", "b", "a"):
        world.ask(law.Signal(given.signal_request(request_id=request_id)))
    told = [event for event in world.history if event.event_type == enums.WORKFLOW_EXECUTION_SIGNALED]
    assert [event.workflow_execution_signaled_event_attributes.request_id for event in told] == ["a", "b", "c", "a"]


def told(world: World) -> list[str]:
    """Request ids of the signals that are in the history of any run."""
    return [
        event.workflow_execution_signaled_event_attributes.request_id
        for _, events in world.runs
        for event in events
        if event.event_type == enums.WORKFLOW_EXECUTION_SIGNALED
    ]


def test_a_signal_that_is_repeated_to_the_next_run_of_a_chain_is_known() -> None:
    world = World()
    world.start()
    world.ask(law.Signal(given.signal_request(request_id="a")))
    world.complete_task(world.workflow_task(), given.continue_as_new())
    world.ask(law.Signal(given.signal_request(request_id="a")))
    world.ask(law.SignalWithStart(given.with_start_request(request_id="a")))
    world.ask(law.Signal(given.signal_request(request_id="b")))
    assert told(world) == ["a", "b"]


def test_a_signal_that_is_repeated_after_the_end_was_served() -> None:
    world = World()
    world.start()
    world.ask(law.Signal(given.signal_request(request_id="a")))
    world.complete_task(world.workflow_task(), given.complete())
    world.ask(law.Signal(given.signal_request(request_id="a")))
    again = world.ask(law.SignalWithStart(given.with_start_request(request_id="a")))
    assert (again.run_id, again.created) == (world.run.key.run_id, False)
    assert told(world) == ["a"]
    message = refused(lambda: world.ask(law.Signal(given.signal_request(request_id="b")))).message
    assert message == "workflow execution already completed"


def test_the_tables_say_where_pending_ones_stand() -> None:
    post, parent = family()
    assert child.state_of(parent.run, 5) == child.State.INITIATED
    post.deliver_all()
    assert child.state_of(parent.run, 5) == child.State.STARTED
    assert child.state_of(parent.run, 77) == child.State.CLOSED
    assert external.TABLE.allows(external.State.INITIATED, external.Trigger.FAIL)
