"""What interceptors see and may change, in one process; how headers travel over a wire: `tests/far`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueResponse

from perdure import (
    ActivityError,
    ApplicationError,
    AsyncEngine,
    Engine,
    Transaction,
    WorkflowFailedError,
    activity,
    call,
    start,
    workflow,
)
from perdure.interceptors import (
    ActivityInboundInterceptor,
    ClientOutboundInterceptor,
    DescribeWorkflowInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    Interceptor,
    StartActivityInput,
    StartTimerInput,
    StartWorkflowInput,
    TerminateWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)
from perdure.sdk.convert import Converter
from perdure.sdk.declare.definitions import Registry
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.workflow.outbound import composer
from perdure.testing import TestEngine, WorkflowTaskFailedError, assert_replays
from tests.far.tracing import TRACE, Tracing


@activity(heartbeat_timeout="1m")
def beats() -> tuple[Any, ...]:
    if activity.info().attempt == 1:
        activity.heartbeat("half way")
        raise RuntimeError("the next attempt sees what was said")
    return activity.info().heartbeat_details


@activity
def adds(one: int, two: int) -> int:
    return one + two


@activity
async def adds_async(one: int, two: int) -> int:
    return one + two


@activity(run_in="process")
def adds_apart(one: int, two: int) -> int:
    return one + two


@activity(transactional=True)
def adds_in_transaction(tx: Transaction, one: int, two: int) -> int:
    tx.execute("CREATE TABLE IF NOT EXISTS sums (value)")
    tx.execute("INSERT INTO sums VALUES (?)", (one + two,))
    return one + two


@activity
def fails() -> None:
    raise ApplicationError("no", details=[7], type="Odd", non_retryable=True)


@activity(run_in="process")
def fails_apart() -> None:
    raise ApplicationError("no", details=[7], type="Odd", non_retryable=True)


@workflow
def beating() -> list[Any]:
    return list(call(beats))


@workflow
def adding(name: str) -> int:
    return call(activity.named(name, returns=int), 1, 2)


@workflow
async def adding_async(name: str) -> int:
    return await start(activity.named(name, returns=int), 1, 2)


@workflow
def traced() -> str:
    return f"{call(adds, 1, 2)} {call(adds_async, 3, 4)}"


@workflow
async def traced_async() -> str:
    return f"{await start(adds, 1, 2)} {await start(adds_async, 3, 4)}"


class Doubles(Interceptor):
    """Doubles the first argument and the result, and counts both ways."""

    def __init__(self) -> None:
        self.ways: list[str] = []

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        ways = self.ways

        class Inbound(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                ways.append(f"in {input.info.attempt}")
                try:
                    first, *rest = input.args
                    input.args = (2 * first, *rest)
                    return 2 * await super().execute_activity(input)
                except ValueError:  # nothing to be doubled
                    return await super().execute_activity(input)
                finally:
                    ways.append("out")

        return Inbound(next)


class Hurries(Interceptor):
    """Gives each activity another summary."""

    def intercept_workflow(self, next: WorkflowInboundInterceptor) -> WorkflowInboundInterceptor:
        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> Any:
                input.activity = input.activity.options(summary="hurried")
                return super().start_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound(next)


class Renames(Interceptor):
    """Starts everything under ids of its own, and has nobody terminate."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def intercept_client(self, next: ClientOutboundInterceptor) -> ClientOutboundInterceptor:
        seen = self.seen

        class Outbound(ClientOutboundInterceptor):
            async def start_workflow(self, input: StartWorkflowInput) -> Any:
                input.options["id"] = f"mine-{input.workflow.name}"
                return await super().start_workflow(input)

            async def describe_workflow(self, input: DescribeWorkflowInput) -> Any:
                seen.append(f"describe {input.id}")
                return await super().describe_workflow(input)

            async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:
                raise PermissionError(f"{input.id} stays")

        return Outbound(next)


class Halves(Interceptor):
    """Has every timer fire after half the time, and remembers each."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, str | None]] = []

    def intercept_workflow(self, next: WorkflowInboundInterceptor) -> WorkflowInboundInterceptor:
        seen = self.seen

        class Outbound(WorkflowOutboundInterceptor):
            def start_timer(self, input: StartTimerInput) -> Any:
                seen.append((input.duration.total_seconds(), input.summary))
                input.duration, input.summary = input.duration / 2, "halved"
                return super().start_timer(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound(next)


class Greets(Interceptor):
    """Has each run begin with an activity that its code does not ask for."""

    def intercept_workflow(self, next: WorkflowInboundInterceptor) -> WorkflowInboundInterceptor:
        class Inbound(WorkflowInboundInterceptor):
            def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                start(adds, 0, 0)
                return super().execute_workflow(input)

        return Inbound(next)


NAMES = ["adds", "adds_async", "adds_apart", "adds_in_transaction"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", [adding, adding_async])
def test_arguments_and_results_of_every_kind_of_activity_may_be_changed(name: str, body: Any, tmp_path: Path) -> None:
    doubles = Doubles()
    with Engine(f"sqlite:///{tmp_path}/a.db", interceptors=[doubles]) as engine:
        # What a transactional one returned is recorded before anybody can change it.
        assert engine.run(body, name) == (4 if name == "adds_in_transaction" else 8)
    assert doubles.ways == ["in 1", "out"]


@pytest.mark.parametrize("failing", ["fails", "fails_apart"])
def test_a_failure_goes_through_as_it_was(failing: str) -> None:
    causes: list[Any] = []
    for interceptors in ([], [Doubles(), Tracing()]):
        with Engine("memory://", interceptors=interceptors) as engine, pytest.raises(WorkflowFailedError) as caught:
            engine.run(adding_failing, failing)
        cause = cast(ApplicationError, cast(ActivityError, caught.value.__cause__).__cause__)
        causes.append((cause.message, cause.type, cause.details))
    assert causes[0] == causes[1]
    assert causes[0][1:] == ("Odd", (7,))


@workflow
def adding_failing(name: str) -> None:
    call(name)


def test_what_an_activity_says_of_itself_may_be_changed() -> None:
    TRACE.set("nobody's")
    with Engine("memory://", interceptors=[Tracing()]) as engine:
        TRACE.set("t-4")
        assert engine.run(beating) == ["t-4", "half way"]


def test_what_workflow_code_asks_for_may_be_changed() -> None:
    with Engine("memory://", interceptors=[Hurries()]) as engine:
        handle = engine.start(traced)
        assert handle.result() == "3 7"
        assert [e.user_metadata.summary.data for e in handle.history() if e.HasField("user_metadata")] == [
            b'"hurried"'
        ] * 2


@workflow
def timed() -> None:
    workflow.sleep("2m", summary="a nap")
    workflow.timer("4m").result()
    assert not workflow.wait_condition(lambda: False, timeout="6m", timeout_summary="in vain")
    with pytest.raises(TimeoutError):
        workflow.wait_signal("never", timeout="8m")
    with pytest.raises(TimeoutError):
        workflow.wait_all(start(never), timeout="10m")


@workflow
async def timed_async() -> None:
    await workflow.sleep("2m", summary="a nap")
    await workflow.timer("4m")
    assert not await workflow.wait_condition(lambda: False, timeout="6m", timeout_summary="in vain")
    with pytest.raises(TimeoutError):
        await workflow.wait_signal("never", timeout="8m")
    await asyncio.sleep(600)


@activity
def never() -> None:
    activity.raise_complete_async()


@pytest.mark.parametrize("body", [timed, timed_async])
def test_timers_may_be_changed_whatever_code_asked_for_them_by(body: Any) -> None:
    halves = Halves()
    with TestEngine(interceptors=[halves]) as engine:
        began = engine.now()
        handle = engine.start(body)
        handle.result()
        assert (engine.now() - began).total_seconds() == 60 * 15
        timers = [event for event in handle.history() if event.HasField("timer_started_event_attributes")]
    assert halves.seen == [(120, "a nap"), (240, None), (360, "in vain"), (480, None), (600, None)]
    assert [event.user_metadata.summary.data for event in timers] == [b'"halved"'] * 5


def test_an_interceptor_that_loses_a_timer_is_told() -> None:
    class Loses(Interceptor):
        def intercept_workflow(self, next: WorkflowInboundInterceptor) -> WorkflowInboundInterceptor:
            class Outbound(WorkflowOutboundInterceptor):
                def start_timer(self, input: StartTimerInput) -> Any:
                    super().start_timer(input)

            class Inbound(WorkflowInboundInterceptor):
                def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                    super().init(Outbound(outbound))

            return Inbound(next)

    with TestEngine(interceptors=[Loses()]) as engine, pytest.raises(WorkflowTaskFailedError) as caught:
        engine.run(timed)
    assert "start_timer must give what `next` gives" in str(caught.value.__cause__)


def test_a_replay_check_replays_with_the_interceptors_that_the_run_had() -> None:
    with Engine("memory://", interceptors=[Greets()]) as engine:
        handle = engine.start(greeted)
        assert handle.result() == "7"
        history = handle.history()
        assert engine.check_replay([greeted], query="").checked == {"greeted": 1}
        assert engine.check_replay([greeted], query="").ok
    assert_replays(history, [greeted], interceptors=[Greets()])
    with pytest.raises(AssertionError, match="adds"):
        assert_replays(history, [greeted])


@workflow
def greeted() -> str:
    return str(call(adds_async, 3, 4))


async def test_what_a_client_asks_for_may_be_changed_or_refused() -> None:
    renames = Renames()
    async with AsyncEngine("memory://", interceptors=[renames]) as engine:
        handle = await engine.start(traced_async, id="theirs")
        assert handle.id == "mine-traced_async"
        await handle.describe(stack=False)
        with pytest.raises(PermissionError, match="mine-traced_async stays"):
            await engine.get(handle.id).terminate()
        assert await handle.result() == "3 7"
    assert renames.seen == ["describe mine-traced_async"]


@pytest.mark.parametrize("body", [traced, traced_async])
def test_interceptors_of_workflows_run_again_in_replay(body: Any) -> None:
    tracing = Tracing()
    with Engine("memory://", interceptors=[tracing, Hurries()]) as engine:
        TRACE.set("t-5")
        handle = engine.start(body)
        handle.result()
        events = handle.history()
    live, tracing.seen[:] = list(tracing.seen), []
    assert live == [f"{body.name} t-5", "adds t-5", "adds_async t-5"]
    machine = WorkflowMachine(
        body, Converter(), namespace="default", task_queue="default", compose=composer([tracing, Hurries()])
    )
    task = PollWorkflowTaskQueueResponse(workflow_execution=WorkflowExecution(workflow_id=handle.id))
    task.history.events.extend(events)
    outcome = machine.process(task)
    assert outcome.error is None and machine.finished
    assert tracing.seen == [f"{body.name} t-5 again"]


def test_the_first_interceptor_is_the_outermost() -> None:
    order: list[str] = []

    class Notes(Interceptor):
        def __init__(self, name: str) -> None:
            self.name = name

        def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
            name = self.name

            class Inbound(ActivityInboundInterceptor):
                async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                    order.append(name)
                    return await super().execute_activity(input)

            return Inbound(next)

    with Engine("memory://", interceptors=[Notes("outer"), Notes("inner")]) as engine:
        engine.run(adding, "adds")
    assert order == ["outer", "inner"]


def test_an_interceptor_that_raises_is_the_attempts_failure() -> None:
    class Breaks(Interceptor):
        def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
            raise ApplicationError("the interceptor is broken", non_retryable=True)

    with Engine("memory://", interceptors=[Breaks()]) as engine, pytest.raises(WorkflowFailedError) as caught:
        engine.run(adding, "adds")
    assert "the interceptor is broken" in str(caught.value)


def test_something_else_is_no_interceptor() -> None:
    with pytest.raises(TypeError, match="interceptors must be of perdure"):
        Engine("memory://", interceptors=cast(Any, [Registry]))
