"""Local activities in the machine: what it wants of its worker, what the markers say, and the same again in replay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure

from perdure import call_local, start_local
from perdure.sdk.convert import failure_of
from perdure.sdk.declare.definitions import AnyWorkflow
from perdure.sdk.declare.transaction import TransactionalActivity
from perdure.sdk.errors import (
    ActivityError,
    ApplicationError,
    CancelledError,
    DefinitionError,
    EngineError,
    NonDeterminismError,
    RetryState,
)
from perdure.sdk.options import Retry
from perdure.sdk.replay import local_activity
from perdure.sdk.replay.local_work import LocalOutcome, LocalWork, Report
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.replay.outcome import TaskOutcome
from perdure.sdk.workflow.workflow import call, start, workflow
from tests.sdk.replay.given import CONVERTER, SECOND_NS, History, texts
from tests.sdk.replay.pieces import a, b
from tests.sdk.replay.test_transitions import Watched


@workflow
def two() -> list[Any]:
    return [call_local(a, 1), workflow.time(), call_local(b, 2), workflow.time()]


@workflow
async def both() -> list[Any]:
    return list(await asyncio.gather(start_local(a, 1), start_local(b, 2), start(a, 3)))


@workflow
def mixed() -> list[Any]:
    """Commands before, between and behind the markers."""
    handle = start_local(a, 1)
    ordinary = start(b, 1)
    first = handle.result()
    timer = workflow.timer(60)
    second = call_local(b, 2)
    timer.cancel()
    return [first, second, ordinary.result()]


@workflow
def survives() -> str:
    try:
        return call_local(a.options(retry=Retry(maximum_attempts=2)))
    except ActivityError as error:
        return f"{error.retry_state.name}: {error}"


@workflow
def cancels(kind: str, after: int) -> str:
    handle = start_local(a.options(cancellation=kind))
    if after:
        call_local(b)
    handle.cancel()
    try:
        return handle.result()
    except CancelledError as error:
        return error.message


def done(seq: int, value: Any = None, attempt: int = 1) -> LocalOutcome:
    return LocalOutcome(seq, attempt, result=Payloads(payloads=CONVERTER.to_payloads((value,))))


def failed(seq: int, error: BaseException, attempt: int = 1, backoff_ns: int = 0) -> LocalOutcome:
    return LocalOutcome(seq, attempt, failure=failure_of(error, CONVERTER), backoff_ns=backoff_ns)


class Run:
    """A machine and the history that its answers become."""

    def __init__(self, code: AnyWorkflow, *args: Any) -> None:
        self.history = History(code, *args).task()
        self.machine = self.history.machine()
        self.seen = 0
        self.outcome = TaskOutcome()

    def task(self) -> LocalWork | None:
        self.outcome = self.machine.process(self.history.since(self.seen))
        self.seen = self.history.last
        return self.outcome.local

    def report(self, *outcomes: LocalOutcome, seconds: float = 1) -> LocalWork | None:
        self.history.now_ns += int(seconds * SECOND_NS)
        self.outcome = self.machine.process(Report(self.history.now_ns, outcomes))
        return self.outcome.local

    def answered(self) -> Sequence[Command]:
        """The task's commands, now in history."""
        commands = self.outcome.commands
        self.history.apply(commands, self.outcome.flags)
        return commands


def marker_of(command: Command) -> dict[str, Any]:
    attributes = command.record_marker_command_attributes
    assert attributes.marker_name == "core_local_activity"
    return json.loads(attributes.details["data"].payloads[0].data)


def replayed(run: Run) -> TaskOutcome:
    """The whole history on a new machine: raises where code and history disagree."""
    outcome = run.history.machine().process(run.history.since())
    assert outcome.error is None, outcome.error
    return outcome


def test_the_worker_is_told_what_to_run_before_the_task_is_answered() -> None:
    run = Run(two)
    work = run.task()
    assert work is not None and not run.outcome.commands
    (request,) = work.start
    assert (request.seq, request.activity_id, request.attempt, request.definition.name) == (1, "1", 1, "a")
    assert CONVERTER.from_payloads(request.input) == [1]
    assert work.task_timeout_ns == 10 * SECOND_NS


def test_the_marker_is_written_as_temporals_sdks_write_it() -> None:
    run = Run(two)
    run.task()
    begun_ns = run.history.now_ns
    work = run.report(done(1, "one"))
    assert work is not None and [request.activity_id for request in work.start] == ["2"]
    assert run.report(done(2, "two")) is None
    first, second, end = run.answered()
    assert marker_of(first) == {
        "seq": 1,
        "attempt": 1,
        "activity_id": "1",
        "activity_type": "a",
        "complete_time": {"seconds": begun_ns // SECOND_NS + 1, "nanos": 0},
        "backoff": None,
        "original_schedule_time": {"seconds": begun_ns // SECOND_NS, "nanos": 0},
        "activation_index": 1,
    }
    assert first.record_marker_command_attributes.details["result"].payloads[0].data == b'"one"'
    assert marker_of(second)["activation_index"] == 2
    began = begun_ns / SECOND_NS
    assert texts([end]) == [f'complete ["one",{began + 1},"two",{began + 2}]']


def test_replay_gives_what_was_recorded_and_the_time_of_it() -> None:
    history = History(two).task().done().local("a", 1, "one").local("b", 2, "two", at=2)
    history.workflow_completed()
    assert history.cold().error is None


def test_commands_stand_in_history_where_the_code_asked_for_them() -> None:
    run = Run(mixed)
    run.task()
    run.report(done(1, "one"))
    run.report(done(3, "two"))
    commands = run.answered()
    kinds = [text.split()[0] for text in texts(commands)]
    assert kinds == ["schedule", "marker", "marker"], "the timer was started and cancelled within the task"
    run.history.completed("2", "ordinary").task()
    run.task()
    assert texts(run.answered()) == ['complete ["one","two","ordinary"]']
    replayed(run)


def test_two_at_once_end_in_any_order() -> None:
    run = Run(both)
    work = run.task()
    assert work is not None and [request.seq for request in work.start] == [1, 2]
    run.report(done(2, "late"), done(1, "early"))
    commands = run.answered()
    assert [marker_of(command)["seq"] for command in commands[1:]] == [2, 1]
    run.history.completed("3", "far").task()
    assert texts(replayed(run).commands) == ['complete ["early","late","far"]']


def test_markers_of_one_activation_reach_the_code_together() -> None:
    history = History(both).task().done().scheduled("a", "3").local("a", 1, 1, at=1).local("b", 2, 2, at=1)
    assert history.completed("3", 3).task().cold().error is None


def test_a_failure_is_recorded_and_raised_as_the_cause() -> None:
    run = Run(survives)
    run.task()
    run.report(failed(1, ApplicationError("no", type="No"), attempt=2))
    marker, end = run.answered()
    assert marker.record_marker_command_attributes.failure.message == "no"
    assert marker_of(marker)["attempt"] == 2
    assert texts([end]) == ['complete "MAXIMUM_ATTEMPTS_REACHED: activity a failed: No: no"']
    replayed(run)


def test_a_task_that_must_be_completed_goes_on_in_the_next_one() -> None:
    run = Run(two)
    run.task()
    assert run.report() is None
    assert run.outcome.goes_on and not run.outcome.commands
    run.answered()
    run.history.task()
    work = run.task()
    assert work is not None and not work.start, "the worker has it already"
    run.report(done(1))
    run.report(done(2))
    assert not run.outcome.goes_on
    run.answered()
    replayed(run)


def test_what_was_lost_with_its_worker_is_run_again() -> None:
    run = Run(two)
    run.task()
    run.report()
    run.answered()
    run.history.task()
    again = run.history.machine().process(run.history.since())
    assert again.local is not None
    (request,) = again.local.start
    assert (request.seq, request.attempt, request.spent_ns) == (1, 1, 2 * SECOND_NS)


def test_a_long_back_off_is_a_durable_timer_and_the_key_stays() -> None:
    run = Run(survives)
    run.task()
    run.report(failed(1, ApplicationError("not yet"), attempt=3, backoff_ns=90 * SECOND_NS))
    marker, timer = run.answered()
    assert marker_of(marker)["backoff"] == {"seconds": 90, "nanos": 0}
    assert texts([timer]) == ["timer 1 for 90s"]
    run.history.fired("1").task()
    work = run.task()
    assert work is not None
    (request,) = work.start
    assert (request.seq, request.activity_id, request.attempt) == (2, "1", 4)
    run.report(done(2, "at last", attempt=4))
    run.answered()
    replayed(run)


@pytest.mark.parametrize("kind", ["try", "abandon"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_cancelled_one_is_recorded_at_once(kind: str, after: int) -> None:
    run = Run(cancels, kind, after)
    run.task()
    if after:
        run.report(done(2))
    marker = run.answered()[-2]
    failure = marker.record_marker_command_attributes.failure
    assert failure.HasField("canceled_failure_info")
    assert marker_of(marker)["attempt"] == after, "0: it was never begun"
    replayed(run)


def test_the_worker_is_told_of_a_cancellation_unless_it_is_abandoned() -> None:
    stops: dict[str, list[int]] = {}
    for kind in ("try", "wait", "abandon"):
        run = Run(cancels, kind, 1)
        run.task()
        machine: WorkflowMachine = run.machine
        run.report(done(2))
        assert machine.locals is not None
        stops[kind] = list(machine.locals.work(urgent=False, task_timeout_ns=1).stop)
        machine.close()
    assert stops == {"try": [1], "wait": [], "abandon": []}, "of `wait`, the outcome had said so"


def test_waiting_for_the_end_of_a_cancelled_one() -> None:
    run = Run(cancels, "wait", 1)
    run.task()
    work = run.report(done(2))
    assert work is not None and work.stop == [1]
    cancelled = Failure(message="Activity cancelled")
    cancelled.canceled_failure_info.SetInParent()
    run.report(LocalOutcome(1, 1, failure=cancelled))
    assert texts(run.answered())[-1] == 'complete "activity a was cancelled"'
    replayed(run)


def test_a_timer_that_backs_off_can_be_cancelled() -> None:
    @workflow
    def backs_off_and_gives_up() -> str:
        handle = start_local(a)
        workflow.sleep(5)
        handle.cancel()
        return "gave up"

    run = Run(backs_off_and_gives_up)
    run.task()
    run.report(failed(1, ApplicationError("no"), backoff_ns=90 * SECOND_NS))
    run.answered()
    run.history.fired("1").task()
    run.task()
    assert texts(run.answered()) == ["cancel timer 2", 'complete "gave up"']
    replayed(run)


def test_code_that_ends_leaves_no_marker_of_what_still_ran() -> None:
    @workflow
    def leaves() -> None:
        start_local(a)

    run = Run(leaves)
    assert run.task() is None
    assert run.outcome.finished and texts(run.answered()) == ["complete null"]
    replayed(run)


def test_a_question_makes_the_task_end_and_go_on_in_the_next() -> None:
    @workflow
    def answers() -> None:
        workflow.on_query("depth", lambda: 1)
        call_local(a)

    run = Run(answers)
    task = run.history.since()
    task.queries["q"].query_type = "depth"
    outcome = run.machine.process(task)
    assert outcome.local is not None and outcome.local.urgent, "somebody waits for this task's answer"
    answered = run.machine.process(Report(run.history.now_ns))
    assert answered.goes_on and answered.query_results is not None
    assert answered.query_results["q"].answer.payloads[0].data == b"1"


def test_another_activity_than_historys_is_named() -> None:
    history = History(two).task().done().local("x", 1, "one").task()
    error = history.cold().error
    assert isinstance(error, NonDeterminismError)
    assert "local activity x (id 1, number 1)" in str(error) and "local activity a (id 1, number 1)" in str(error)


def test_one_that_history_does_not_know_is_named() -> None:
    history = History(two).task().done().scheduled("a", "1").task()
    error = history.cold().error
    assert isinstance(error, NonDeterminismError) and "activity a (id 1)" in str(error)


def test_one_that_the_code_no_longer_asks_for_is_named() -> None:
    @workflow(name="two")
    def none_of_it() -> None:
        call(a)

    error = History(two).task().done().local("a", 1).task().cold(none_of_it).error
    assert isinstance(error, NonDeterminismError) and "local activity a (id 1, number 1)" in str(error)


def test_what_cannot_be_local_says_so() -> None:
    @workflow
    async def blocks() -> None:
        call_local(a)

    outcome = History(blocks).task().cold()
    assert isinstance(outcome.error, EngineError) and "start_local" in str(outcome.error)
    transactional = TransactionalActivity[Any, Any](
        lambda transaction: None, name="t", options=a.activity_options, run_in="auto"
    )

    @workflow
    def misuses() -> None:
        call_local(transactional)

    assert isinstance(History(misuses).task().cold().error, DefinitionError)


def test_every_transition_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Watched(local_activity.LOCAL_ACTIVITY_TRANSITIONS)
    monkeypatch.setattr(local_activity, "LOCAL_ACTIVITY_TRANSITIONS", table)
    test_a_long_back_off_is_a_durable_timer_and_the_key_stays()
    test_a_cancelled_one_is_recorded_at_once("try", 1)
    test_waiting_for_the_end_of_a_cancelled_one()
    test_a_timer_that_backs_off_can_be_cancelled()
    assert set(table) == table.taken


@pytest.mark.parametrize(
    ("error", "attempt", "state"),
    [
        (ApplicationError("no", non_retryable=True), 1, RetryState.NON_RETRYABLE_FAILURE),
        (ApplicationError("no", type="Fatal"), 1, RetryState.NON_RETRYABLE_FAILURE),
        (ApplicationError("no"), 3, RetryState.MAXIMUM_ATTEMPTS_REACHED),
        (ApplicationError("no"), 2, RetryState.TIMEOUT),
    ],
)
def test_why_it_was_not_tried_again(error: ApplicationError, attempt: int, state: RetryState) -> None:
    options = a.options(retry=Retry(maximum_attempts=3, non_retryable_error_types=["Fatal"])).activity_options
    assert local_activity.why_not_again(failure_of(error, CONVERTER), attempt, options) is state


@workflow
def left_alone() -> str:
    heard: list[str] = []
    with workflow.scope() as scope:
        handle = start_local(a.options(cancellation="wait"))
        call_local(b)
        scope.cancel()
        heard.append(handle.result())
        try:
            workflow.sleep(60)
        except CancelledError:
            heard.append("cancelled")
    return ",".join(heard)


@workflow
async def left_alone_async() -> str:
    heard: list[str] = []
    with workflow.scope() as scope:
        handle = start_local(a.options(cancellation="wait"))
        await start_local(b)
        scope.cancel()
        heard.append(await handle)
        try:
            await workflow.sleep(60)
        except asyncio.CancelledError:
            heard.append("cancelled")
    return ",".join(heard)


@pytest.mark.parametrize("code", [left_alone, left_alone_async])
def test_one_that_ends_well_although_it_was_cancelled_uses_no_cancellation_up(code: AnyWorkflow) -> None:
    run = Run(code)
    run.task()
    work = run.report(done(2, "second"))
    assert work is not None and work.stop == [1]
    assert run.report(done(1, "value")) is None
    assert texts(run.answered())[-1] == 'complete "value,cancelled"'
    assert list(run.outcome.flags) == [1]
    assert replayed(run).finished
