"""What the machine does with histories, for both colours of workflow."""

from __future__ import annotations

import datetime
import gc
import weakref
from typing import Any

import pytest
from temporalio.api.enums.v1 import WorkflowTaskFailedCause

from perdure.sdk.activity import activity
from perdure.sdk.errors import (
    ActivityError,
    ApplicationError,
    CancelledError,
    DefinitionError,
    EngineError,
    NonDeterminismError,
    PayloadError,
    PayloadTooLargeError,
    TimedOutError,
    TimeoutType,
)
from perdure.sdk.replay import fiber as fiber_module
from perdure.sdk.replay.machine import HistoryGapError
from perdure.sdk.replay.running import guarded, running
from perdure.sdk.workflow import call, start, wait, workflow
from tests.sdk.replay.given import History, failure_text, texts


@activity(name="a")
def a(value: Any = None) -> Any:
    return value


@activity(name="b")
def b(value: Any = None) -> Any:
    return value


@workflow
def two_in_a_row(value: int) -> list[Any]:
    return [call(a, value), call(b, value)]


# --- sections --------------------------------------------------------------------------------------------


def test_the_code_does_not_run_at_tasks_that_failed_or_timed_out() -> None:
    ran: list[str] = []

    @workflow
    def counts() -> Any:
        ran.append("begin")
        value = call(a)
        ran.append("end")
        return value

    history = History(counts).task().task_timed_out().task().task_failed().task().done().scheduled("a")
    history.completed("1", 5).task().task_failed().task().task_timed_out().task()
    outcome = history.cold()
    assert texts(outcome.commands) == ["complete 5"]
    assert ran == ["begin", "end"]


def test_workflow_time_is_that_of_the_task_that_counted() -> None:
    times: list[float] = []

    @workflow
    def tells() -> None:
        times.append(workflow.time())
        call(a)
        times.append(workflow.time())

    history = (
        History(tells).task().task_timed_out().task().done().scheduled("a").completed("1").task().task_failed().task()
    )
    history.cold()
    assert [t - times[0] for t in times] == [0, 2]
    assert times[0] == history.events[4].event_time.seconds


def test_a_task_that_is_delivered_again_after_a_failure_starts_the_machine_over() -> None:
    history = History(two_in_a_row, 1).task()
    machine = history.machine()
    machine.process(history.since())
    history.task_timed_out().task()
    again = machine.process(history.since())
    assert texts(again.commands) == ["schedule a(1) as 1"]
    seen = history.last
    history.apply(again.commands).completed("1", "x").task()
    assert texts(machine.process(history.since(seen)).commands) == ["schedule b(1) as 2"]


def test_a_history_that_does_not_continue_is_refused_and_changes_nothing() -> None:
    history = History(two_in_a_row, 1).task()
    machine = history.machine()
    first = machine.process(history.since())
    seen = history.last
    history.apply(first.commands).completed("1", "x").task()
    with pytest.raises(HistoryGapError, match=rf"before event {seen + 1}.*at event {seen + 3}"):
        machine.process(history.since(seen + 2))
    assert texts(machine.process(history.since(seen)).commands) == ["schedule b(1) as 2"]


def test_two_tasks_may_come_in_one_piece_of_history() -> None:
    history = History(two_in_a_row, 1).task()
    machine = history.machine()
    machine.process(history.since())
    seen = history.last
    history.done().scheduled("a").completed("1", "x").task().done().scheduled("b").completed("2", "y").task()
    assert texts(machine.process(history.since(seen)).commands) == ['complete ["x","y"]']


def test_commands_of_one_task_keep_the_order_of_the_code_and_ids_count_up() -> None:
    @workflow
    def many() -> None:
        handles = [start(a, n) for n in range(3)]
        workflow.timer(1)
        workflow.side_effect(lambda: "x")
        handles.append(start(b))
        workflow.timer("2s")
        workflow.wait_all(*handles)

    assert texts(History(many).task().cold().commands) == [
        "schedule a(0) as 1",
        "schedule a(1) as 2",
        "schedule a(2) as 3",
        "timer 1 for 1s",
        'marker SideEffect "x"',
        "schedule b() as 4",
        "timer 2 for 2s",
    ]


def test_a_command_carries_all_options_of_the_activity() -> None:
    from perdure.sdk.options import Retry

    @activity(start_to_close="5s", schedule_to_close="1h", schedule_to_start="2s", heartbeat="500ms", task_queue="q2")
    def full() -> None: ...

    @workflow
    def calls() -> None:
        start(full)
        start(full.options(start_to_close="7s", retry=Retry(maximum_attempts=3), task_queue="q3"))
        start(a)
        workflow.sleep(1)

    first, second, third, _ = History(calls).task().cold().commands
    one = first.schedule_activity_task_command_attributes
    assert one.activity_type.name == "full"
    assert one.task_queue.name == "q2"
    assert one.start_to_close_timeout.seconds == 5
    assert one.schedule_to_close_timeout.seconds == 3600
    assert one.schedule_to_start_timeout.seconds == 2
    assert one.heartbeat_timeout.nanos == 500_000_000
    assert not one.HasField("retry_policy")
    two = second.schedule_activity_task_command_attributes
    assert two.start_to_close_timeout.seconds == 7
    assert two.retry_policy.maximum_attempts == 3
    assert two.task_queue.name == "q3"
    three = third.schedule_activity_task_command_attributes
    assert three.task_queue.name == "default"
    assert three.start_to_close_timeout.seconds == 600


# --- ends of a run ---------------------------------------------------------------------------------------


def test_an_application_error_fails_the_run() -> None:
    @workflow
    def fails() -> None:
        raise ApplicationError("card declined", type="CardDeclined", non_retryable=True, details=[42])

    outcome = History(fails).task().cold()
    assert texts(outcome.commands) == ["fail card declined"]
    assert outcome.finished
    failure = outcome.commands[0].fail_workflow_execution_command_attributes.failure
    assert failure.application_failure_info.type == "CardDeclined"
    assert failure.application_failure_info.non_retryable
    assert "in fails" in failure.stack_trace


def test_a_bug_fails_the_task_and_not_the_run_and_carries_the_traceback() -> None:
    @workflow
    def buggy() -> None:
        call(a)
        raise KeyError("missing")

    history = History(buggy).task().done().scheduled("a").completed("1").task()
    outcome = history.cold()
    assert outcome.commands == []
    assert not outcome.finished
    assert outcome.failure is not None
    assert outcome.failure.application_failure_info.type == "KeyError"
    assert f'{__file__}", line {buggy.fn.__code__.co_firstlineno + 3}, in buggy' in outcome.failure.stack_trace
    assert outcome.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE


def test_fail_on_names_errors_that_fail_the_run() -> None:
    @workflow(fail_on=(LookupError,))
    def buggy() -> None:
        raise KeyError("missing")

    assert texts(History(buggy).task().cold().commands) == ["fail 'missing'"]
    with pytest.raises(DefinitionError, match="fail_on"):
        workflow(fail_on=("KeyError",))  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_a_time_out_that_nobody_caught_fails_the_run() -> None:
    @workflow
    def late() -> None:
        workflow.wait_all(start(a), timeout="1s")

    history = History(late).task().done().scheduled("a").timer().fired("1").task()
    assert texts(history.cold().commands) == ["fail not all of 1 were done within 1s"]


def test_even_system_exit_only_fails_the_task() -> None:
    @workflow
    def leaves() -> None:
        raise SystemExit(3)

    outcome = History(leaves).task().cold()
    assert outcome.failure is not None
    assert "SystemExit" in outcome.failure.message


def test_a_result_that_cannot_be_serialised_fails_the_task_and_says_why() -> None:
    @workflow
    def returns_it() -> object:
        return object()

    outcome = History(returns_it).task().cold()
    assert isinstance(outcome.error, PayloadError)
    assert "the result of workflow returns_it" in str(outcome.error)


def test_an_argument_that_cannot_be_serialised_fails_the_task_even_if_caught() -> None:
    @workflow
    def passes_it() -> str:
        try:
            call(a, object())
        except PayloadError:
            return "caught"
        return "passed"

    outcome = History(passes_it).task().cold()
    assert isinstance(outcome.error, PayloadError)
    assert "the arguments of activity a" in str(outcome.error)


def test_an_argument_of_three_megabytes_fails_the_task_and_says_so() -> None:
    @workflow
    def passes_it() -> None:
        call(a, "x" * 3_000_000)

    outcome = History(passes_it).task().cold()
    assert isinstance(outcome.error, PayloadTooLargeError)


def test_arguments_that_do_not_decode_fail_the_task() -> None:
    outcome = History(two_in_a_row, "not a number").task().cold()
    assert isinstance(outcome.error, PayloadError)
    assert "the arguments of workflow two_in_a_row" in str(outcome.error)


def test_wrong_arguments_to_an_activity_raise_as_a_call_would() -> None:
    @workflow
    def wrong() -> None:
        call(a, 1, 2, 3)  # pyright: ignore[reportCallIssue]

    outcome = History(wrong).task().cold()
    assert isinstance(outcome.error, TypeError)
    assert "too many positional arguments" in str(outcome.error)


# --- how activities fail ---------------------------------------------------------------------------------


@workflow
def tells_why() -> list[Any]:
    try:
        call(a)
    except ActivityError as error:
        cause = error.cause
        return [type(cause).__name__, str(cause), error.activity_type, error.activity_id, error.retry_state.name]
    return []


def test_a_failed_activity_raises_with_its_cause() -> None:
    error = ApplicationError("declined", type="CardDeclined")
    outcome = History(tells_why).task().done().scheduled("a").failed("1", error).task().cold()
    assert texts(outcome.commands) == [
        'complete ["ApplicationError","CardDeclined: declined","a","1","MAXIMUM_ATTEMPTS_REACHED"]'
    ]


def test_a_timed_out_activity_raises_with_the_kind_of_time_out() -> None:
    @workflow
    def times_out() -> str:
        try:
            call(a)
        except ActivityError as error:
            return error.cause.timeout_type.name if isinstance(error.cause, TimedOutError) else repr(error.cause)
        return ""

    outcome = History(times_out).task().done().scheduled("a").timed_out("1").task().cold()
    assert texts(outcome.commands) == [f'complete "{TimeoutType.START_TO_CLOSE.name}"']


def test_an_activity_cancelled_by_someone_else_raises_with_a_cancellation_as_cause() -> None:
    outcome = History(tells_why).task().done().scheduled("a").cancelled("1").task().cold()
    assert texts(outcome.commands) == ['complete ["CancelledError","activity a was cancelled","a","1","UNKNOWN"]']


def test_an_uncaught_activity_error_fails_the_run_with_the_whole_chain() -> None:
    error = ApplicationError("declined")
    error.__cause__ = ApplicationError("gateway said 402")
    outcome = History(two_in_a_row, 1).task().done().scheduled("a").failed("1", error).task().cold()
    failure = outcome.commands[0].fail_workflow_execution_command_attributes.failure
    assert failure_text(failure) == "activity task failed <- declined <- gateway said 402"
    assert failure.activity_failure_info.activity_type.name == "a"
    assert failure.activity_failure_info.identity == "worker-1"


def test_a_result_is_decoded_by_the_annotation_of_the_activity() -> None:
    @activity
    def when() -> datetime.datetime: ...

    @workflow
    def asks() -> int:
        return call(when).year

    history = History(asks).task().done().scheduled("when").completed("1", "2026-11-20T00:00:00Z").task()
    assert texts(history.cold().commands) == ["complete 2026"]
    wrong = History(asks).task().done().scheduled("when").completed("1", "yesterday").task().cold()
    assert isinstance(wrong.error, PayloadError)
    assert "the result of activity when" in str(wrong.error)


# --- waiting ---------------------------------------------------------------------------------------------


def test_what_happened_in_one_section_is_all_seen_at_once() -> None:
    @workflow
    def sees() -> list[bool]:
        one, two, three = start(a), start(a), start(a)
        done = workflow.wait_any(one, two, three)
        return [h in done for h in (one, two, three)]

    history = History(sees).task().done().scheduled("a").scheduled("a").scheduled("a")
    history.completed("3").completed("1").task()
    assert texts(history.cold().commands) == ["complete [true,false,true]"]


def test_waiting_on_a_condition_with_a_time_out() -> None:
    @workflow
    def waits() -> list[bool]:
        handle = start(a)
        first = wait(handle.done, timeout="1m")
        second = wait(handle.done, timeout="1m")
        return [first, second]

    history = History(waits).task()
    first = history.cold()
    assert texts(first.commands) == ["schedule a() as 1", "timer 1 for 60s"]
    history.apply(first.commands).fired("1").task()
    second = history.cold()
    assert texts(second.commands) == ["timer 2 for 60s"]
    history.apply(second.commands).completed("1").task()
    third = history.cold()
    assert texts(third.commands) == ["cancel timer 2", "complete [false,true]"]


def test_wait_all_returns_values_in_order_and_raises_the_first_error_in_order() -> None:
    @workflow
    def gathers() -> list[Any]:
        return workflow.wait_all(start(a, 1), start(b, 2), timeout="1h")

    history = History(gathers).task().done().scheduled("a").scheduled("b").timer()
    both = History(gathers).task().done().scheduled("a").scheduled("b").timer()
    both.completed("2", "two").task().done().completed("1", "one").task()
    assert texts(both.cold().commands) == ["cancel timer 1", 'complete ["one","two"]']
    history.failed("2", ApplicationError("second")).failed("1", ApplicationError("first")).task()
    assert texts(history.cold().commands) == ["cancel timer 1", "fail activity task failed <- first"]


def test_a_condition_that_raises_raises_where_it_is_waited_for() -> None:
    flag: list[int] = []

    @workflow
    def waits() -> str:
        handle = start(a)
        try:
            wait(lambda: handle.done() and flag[0] == 1)
        except IndexError:
            return "caught"
        return "done"

    history = History(waits).task().done().scheduled("a").completed("1").task()
    assert texts(history.cold().commands) == ['complete "caught"']


def test_a_condition_must_not_wait_itself() -> None:
    @workflow
    def waits() -> None:
        handle = start(a)
        wait(lambda: handle.done() and call(b))

    history = History(waits).task().done().scheduled("a").completed("1").task()
    outcome = history.cold()
    assert isinstance(outcome.error, EngineError)
    assert "a condition must not" in str(outcome.error)


def test_cancelling_what_was_started_in_the_same_task_leaves_nothing() -> None:
    @workflow
    def changes_its_mind() -> list[Any]:
        handle, timer = start(a), workflow.timer(60)
        assert handle.cancel()
        assert timer.cancel()
        assert not handle.cancel()
        for thing in (handle, timer):
            try:
                thing.result()
            except CancelledError:
                continue
            raise AssertionError
        return [handle.done(), timer.done(), call(b)]

    history = History(changes_its_mind).task()
    first = history.cold()
    assert texts(first.commands) == ["schedule b() as 2"]
    history.apply(first.commands).completed("2", "x").task()
    assert texts(history.cold().commands) == ['complete [true,true,"x"]']


def test_cancelling_a_started_timer_and_a_scheduled_activity() -> None:
    @workflow
    def stops() -> str:
        handle, timer, quick = start(a), workflow.timer(60), start(b)
        quick.result()
        timer.cancel()
        handle.cancel()
        return call(b)

    history = History(stops).task()
    first = history.cold()
    history.apply(first.commands).completed("2").task()
    second = history.cold()
    assert texts(second.commands) == ["cancel timer 1", "cancel activity of event 5", "schedule b() as 3"]
    history.apply(second.commands).cancelled("1").completed("3", "end").task()
    assert texts(history.cold().commands) == ['complete "end"']


def test_an_activity_cancelled_in_the_middle_may_still_complete() -> None:
    @workflow
    def stops() -> list[Any]:
        handle = start(a.options(cancellation="wait"))
        workflow.sleep(1)
        handle.cancel()
        assert not handle.done()
        return [handle.result()]

    history = History(stops).task().done().scheduled("a").timer().fired("1").task()
    assert texts(history.cold().commands) == ["cancel activity of event 5"]
    history.done().cancel_asked("1").completed("1", "too late").task()
    assert texts(history.cold().commands) == ['complete ["too late"]']


@pytest.mark.parametrize("ending", ["failed", "timed_out", "cancelled"])
def test_a_cancelled_and_waited_for_activity_may_end_in_any_way(ending: str) -> None:
    @workflow
    def stops() -> str:
        handle = start(a.options(cancellation="wait"))
        workflow.sleep(1)
        handle.cancel()
        try:
            handle.result()
        except (ActivityError, CancelledError) as error:
            return type(error).__name__
        return "done"

    history = History(stops).task().done().scheduled("a").timer().fired("1").task().done().cancel_asked("1")
    getattr(history, ending)("1")
    expected = "CancelledError" if ending == "cancelled" else "ActivityError"
    assert texts(history.task().cold().commands) == [f'complete "{expected}"']


@pytest.mark.parametrize("ending", ["completed", "failed", "timed_out", "cancelled"])
def test_how_an_activity_ends_that_was_given_up_does_not_matter(ending: str) -> None:
    @workflow
    def stops() -> str:
        handle = start(a)
        workflow.sleep(1)
        handle.cancel()
        workflow.sleep(1)
        return "slept"

    history = History(stops).task().done().scheduled("a").timer().fired("1").task().done().cancel_asked("1").timer()
    getattr(history, ending)("1")
    assert texts(history.task().cold().commands) == []
    assert texts(history.done().fired("2").task().cold().commands) == ['complete "slept"']


def test_an_abandoned_activity_is_not_told() -> None:
    @workflow
    def leaves_it() -> str:
        handle = start(a.options(cancellation="abandon"))
        workflow.sleep(1)
        handle.cancel()
        return "left"

    history = History(leaves_it).task().done().scheduled("a").timer().fired("1").task()
    assert texts(history.cold().commands) == ['complete "left"']


# --- cancellation of the run -----------------------------------------------------------------------------


def test_a_cancelled_run_raises_where_it_waits_and_cleans_up() -> None:
    @workflow
    def cleans_up() -> str:
        try:
            call(a)
        except CancelledError as error:
            call(b, str(error))
            raise
        return "no"

    history = History(cleans_up).task().done().scheduled("a").cancel_requested("enough").task()
    first = history.cold()
    assert texts(first.commands) == [
        "cancel activity of event 5",
        'schedule b("the workflow was cancelled: enough") as 2',
    ]
    history.apply(first.commands).completed("2").task()
    last = history.cold()
    assert texts(last.commands) == ["cancel workflow"]
    assert last.finished


@pytest.mark.parametrize("cancellation", ["try", "wait", "abandon"])
def test_how_a_cancelled_run_leaves_its_activity(cancellation: Any) -> None:
    @workflow
    def waits() -> str:
        return call(a.options(cancellation=cancellation))

    history = History(waits).task().done().scheduled("a").cancel_requested().task()
    expected = {
        "try": ["cancel activity of event 5", "cancel workflow"],
        "wait": ["cancel activity of event 5"],
        "abandon": ["cancel workflow"],
    }
    assert texts(history.cold().commands) == expected[cancellation]
    if cancellation == "wait":
        history.done().cancel_asked("1").cancelled("1").task()
        assert texts(history.cold().commands) == ["cancel workflow"]


def test_a_cancellation_that_came_before_the_first_task_is_raised_at_the_first_wait() -> None:
    @workflow
    def begins() -> None:
        try:
            workflow.sleep(60)
        finally:
            call(b)

    history = History(begins).cancel_requested().task()
    assert texts(history.cold().commands) == ["schedule b() as 1"]


def test_a_result_that_came_with_the_cancellation_is_not_lost() -> None:
    @workflow
    def both() -> list[Any]:
        value = call(a)
        try:
            workflow.sleep(60)
        except CancelledError:
            return [value, "cancelled", workflow.cancel_requested()]
        return []

    history = History(both).task().done().scheduled("a").completed("1", 7).cancel_requested().task()
    assert texts(history.cold().commands) == ['complete [7,"cancelled",true]']


def test_a_second_request_changes_nothing() -> None:
    @workflow
    def stubborn() -> str:
        try:
            workflow.sleep(60)
        except CancelledError:
            workflow.sleep(60)
        return "slept"

    history = History(stubborn).task().done().timer().cancel_requested().task()
    first = history.cold()
    assert texts(first.commands) == ["cancel timer 1", "timer 2 for 60s"]
    history.apply(first.commands).cancel_requested().task()
    assert history.cold().commands == []
    history.done().fired("2").task()
    assert texts(history.cold().commands) == ['complete "slept"']


def test_wait_all_cancels_what_it_waits_for_and_wait_any_does_not() -> None:
    @workflow
    def gathers() -> None:
        workflow.wait_all(start(a), start(b))

    @workflow
    def races() -> None:
        workflow.wait_any(start(a), start(b))

    for definition, expected in (
        (gathers, ["cancel activity of event 5", "cancel activity of event 6", "cancel workflow"]),
        (races, ["cancel workflow"]),
    ):
        history = History(definition).task().done().scheduled("a").scheduled("b").cancel_requested().task()
        assert texts(history.cold().commands) == expected


def test_waiting_with_a_time_out_cancels_its_timer_when_the_run_is_cancelled() -> None:
    @workflow
    def waits() -> bool:
        return wait(lambda: False, timeout="1h")

    history = History(waits).task().done().timer().cancel_requested().task()
    assert texts(history.cold().commands) == ["cancel timer 1", "cancel workflow"]


def test_cancelled_error_without_a_request_fails_the_run() -> None:
    @workflow
    def raises_it() -> None:
        raise CancelledError("by myself")

    outcome = History(raises_it).task().cold()
    assert texts(outcome.commands) == ["fail by myself"]
    failure = outcome.commands[0].fail_workflow_execution_command_attributes.failure
    assert failure.HasField("canceled_failure_info")


# --- side effects, time, chance ----------------------------------------------------------------------------


def test_a_side_effect_runs_once_and_replay_gives_the_recorded_value() -> None:
    ran: list[int] = []

    def make() -> int:
        ran.append(1)
        return len(ran)

    @workflow
    def uses() -> list[Any]:
        one = workflow.side_effect(make)
        call(a)
        return [one, workflow.side_effect(make)]

    history = History(uses).task()
    first = history.cold()
    assert texts(first.commands) == ["marker SideEffect 1", "schedule a() as 1"]
    history.apply(first.commands).completed("1").task()
    second = history.cold()
    assert texts(second.commands) == ["marker SideEffect 2", "complete [1,2]"]
    assert len(ran) == 2
    marker = first.commands[0].record_marker_command_attributes
    assert marker.details["side-effect-id"].payloads[0].data == b"1"


def test_a_side_effect_gives_the_same_type_live_and_replayed() -> None:
    import dataclasses

    seen: list[Any] = []

    @workflow
    def uses() -> None:
        seen.append(workflow.side_effect(lambda: (1, 2)))
        seen.append(workflow.side_effect(lambda: {"x": 3, "y": 4}, Point))
        call(a)

    @dataclasses.dataclass
    class Point:
        x: int
        y: int

    history = History(uses).task()
    first = history.cold()
    history.apply(first.commands).completed("1").task()
    history.cold()
    assert seen == [[1, 2], Point(3, 4)] * 2


def test_a_side_effect_must_not_ask_for_anything() -> None:
    @workflow
    def misuses() -> None:
        workflow.side_effect(lambda: call(a))

    outcome = History(misuses).task().cold()
    assert isinstance(outcome.error, EngineError)
    assert "side effect must not" in str(outcome.error)


def test_time_chance_and_ids_are_the_same_in_replay() -> None:
    seen: list[list[Any]] = []

    @workflow
    def asks() -> None:
        mine: list[Any] = []
        seen.append(mine)
        for _ in range(2):
            mine.append(workflow.now())
            mine.append(workflow.time_ns())
            mine.append(workflow.random().random())
            mine.append(workflow.random().randint(1, 10**9))
            mine.append(workflow.uuid4())
            call(a)

    history = History(asks).task()
    machine = history.machine()
    first = machine.process(history.since())
    at = history.last
    history.apply(first.commands).completed("1").task()
    machine.process(history.since(at))
    history.cold()
    assert seen[0] == seen[1]
    assert len(seen[0]) == 10
    now = seen[0][0]
    assert now.tzinfo is not None
    assert now.timestamp() == history.events[2].event_time.seconds
    assert seen[0][4].version == 4
    assert seen[0][4] != seen[0][9]
    other = History(asks, run_id="run-2").task()
    other.cold()
    assert seen[2][2] != seen[0][2]


def test_info_memo_and_length() -> None:
    from tests.sdk.replay.given import CONVERTER

    seen: list[Any] = []

    @workflow
    def asks() -> None:
        info = workflow.info()
        seen.extend([info.workflow_id, info.run_id, info.workflow_type, info.task_queue, info.attempt, info.namespace])
        seen.append(workflow.memo())
        seen.append(workflow.history_length())
        seen.append(info.started_at.timestamp())

    history = History(asks, workflow_id="order-7")
    memo = history.events[0].workflow_execution_started_event_attributes.memo
    memo.fields["customer"].CopyFrom(CONVERTER.to_payload("c-1"))
    history.task().cold()
    assert seen[:6] == ["order-7", "run-1", "asks", "default", 1, "default"]
    assert seen[6] == {"customer": "c-1"}
    assert seen[7] == 3
    assert seen[8] == history.events[0].event_time.seconds


def test_is_replaying_and_the_logger_know_what_is_new(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[bool] = []

    @workflow
    def talks() -> None:
        seen.append(workflow.is_replaying())
        workflow.logger.warning("first %s", "line")
        call(a)
        seen.append(workflow.is_replaying())
        workflow.logger.warning("second line")

    history = History(talks).task().done().scheduled("a").completed("1").task()
    history.cold()
    assert seen == [True, False]
    assert [r.getMessage() for r in caplog.records] == ["second line (talks w-1)"]
    record: Any = caplog.records[0]
    assert record.workflow_id == "w-1"
    assert record.funcName == "talks"


# --- misuse ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: call(a),
        lambda: start(a),
        lambda: wait(lambda: True),
        lambda: workflow.sleep(1),
        lambda: workflow.now(),
        lambda: workflow.random(),
        lambda: workflow.info(),
        lambda: workflow.side_effect(lambda: 1),
    ],
)
def test_outside_of_a_workflow_the_error_says_how_to_get_in(misuse: Any) -> None:
    with pytest.raises(EngineError, match=r"inside a running workflow.*engine\.run"):
        misuse()


def test_a_plain_function_is_no_activity() -> None:
    def plain() -> None: ...

    @workflow
    def calls_it() -> None:
        call(plain)  # pyright: ignore[reportArgumentType]

    outcome = History(calls_it).task().cold()
    assert isinstance(outcome.error, DefinitionError)
    assert "decorated with @activity" in str(outcome.error)


def test_a_workflow_called_in_a_workflow_is_a_part_of_it() -> None:
    @workflow
    def outer() -> list[Any]:
        return two_in_a_row(5)

    assert texts(History(outer).task().cold().commands) == ["schedule a(5) as 1"]


# --- closing -----------------------------------------------------------------------------------------------


def test_closing_frees_the_code_and_runs_no_more_of_it_than_clean_up() -> None:
    class Thing:
        pass

    said: list[str] = []
    references: list[Any] = []

    @workflow
    def holds() -> None:
        thing = Thing()
        references.append(weakref.ref(thing))
        try:
            call(a)
            said.append("unreached")
        except CancelledError:
            said.append("not cancelled either")
        finally:
            said.append("finally")
            call(b)
            said.append("unreached")

    history = History(holds).task()
    machine = history.machine()
    machine.process(history.since())
    assert references[0]() is not None
    machine.close()
    assert said == ["finally"]
    gc.collect()
    assert references[0]() is None
    assert not running
    assert not guarded


def test_closing_twice_and_before_the_start_is_fine() -> None:
    history = History(two_in_a_row, 1).task()
    machine = history.machine()
    machine.close()
    machine.close()
    assert texts(machine.process(history.since()).commands) == ["schedule a(1) as 1"]
    machine.close()
    machine.close()


def test_code_that_will_not_end_is_left_standing() -> None:
    tries: list[int] = []

    @workflow
    def stubborn() -> None:
        while True:
            try:
                call(a)
            except BaseException:
                tries.append(1)

    history = History(stubborn).task()
    machine = history.machine()
    machine.process(history.since())
    before = len(fiber_module.abandoned)
    machine.close()
    assert len(tries) == 101
    assert len(fiber_module.abandoned) == before + 1


def test_a_machine_that_failed_starts_over_at_event_one_alone() -> None:
    broken = [True]

    @workflow
    def mended() -> int:
        value = call(a)
        if broken:
            raise ValueError("not yet")
        return value

    history = History(mended).task()
    machine = history.machine()
    first = machine.process(history.since())
    at = history.last
    history.apply(first.commands).completed("1", 3).task()
    failed = machine.process(history.since(at))
    assert isinstance(failed.error, ValueError)
    history.task_failed()
    at = history.last
    history.task()
    with pytest.raises(HistoryGapError):
        machine.process(history.since(at))
    broken.clear()
    assert texts(machine.process(history.since()).commands) == ["complete 3"]


def test_an_event_of_an_unknown_kind_of_command_is_named() -> None:
    from temporalio.api.enums.v1 import EventType

    history = History(two_in_a_row, 1).task().done()
    history._add(EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)  # pyright: ignore[reportPrivateUsage]
    outcome = history.task().cold()
    assert isinstance(outcome.error, NonDeterminismError)
    assert "StartChildWorkflowExecutionInitiated" in str(outcome.error)
