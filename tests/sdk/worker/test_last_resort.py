"""What answers tasks breaks in the middle of it: the task is answered with that, and the log has the traceback."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import QueryResultType
from temporalio.api.failure.v1 import Failure
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.activity import activity
from perdure.sdk.convert import Converter
from perdure.sdk.declare.definitions import Registry
from perdure.sdk.errors import ApplicationError, CancelledError
from perdure.sdk.options import JITTER_HEADER
from perdure.sdk.worker import QueueWorker, WorkerConfig, local_activities
from perdure.sdk.worker.activity_tasks import run_sync
from perdure.sdk.worker.attempt import Attempt
from perdure.sdk.worker.handover import Returns, ThreadHands
from perdure.sdk.worker.machines import CachedRun
from perdure.sdk.worker.raised import Raised
from perdure.sdk.worker.workflow_thread import InlineWorkflows, WorkflowThread
from perdure.sdk.workflow.local_calls import call_local
from perdure.sdk.workflow.workflow import workflow
from tests.sdk.worker.fake import FakeServer, activity_task, event, first_events, until, workflow_task


class Bug(Exception):
    """Of ours."""


@activity
def step() -> str:
    return "done"


@activity
def declines() -> None:
    raise ApplicationError(
        "declined", type="Declined", non_retryable=True, next_retry_delay=timedelta(days=30_000), details=["x"]
    )


@activity(heartbeat_timeout="10s")
async def beats() -> None:
    for number in range(10_000):
        activity.heartbeat(number)
        await asyncio.sleep(0)


@activity
async def stops() -> None:
    activity.heartbeat()
    try:
        await activity.wait_for_cancelled()
    except asyncio.CancelledError:
        raise CancelledError("stopped", details=["so far"]) from None


@workflow
def quick() -> str:
    return "ok"


@workflow
def local() -> str:
    return call_local(step)


@workflow
class Asked:
    @workflow.run
    def run(self) -> str:
        return workflow.wait_signal("go", returns=str)

    @workflow.query
    def question(self) -> str:
        return "answer"


@asynccontextmanager
async def working(server: FakeServer) -> AsyncIterator[QueueWorker]:
    registry = Registry([quick, local, Asked], [step, declines, beats, stops])
    worker = QueueWorker(cast(Any, server), "q", registry, config=WorkerConfig(max_heartbeat_throttle_interval="1ns"))
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop(at_once=True)


def refusal(text: str = "too large") -> Rejected:
    return Rejected(StatusCode.INVALID_ARGUMENT, text)


async def test_a_result_that_cannot_be_sent_is_a_failure_of_the_attempt(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer()
    server.troubles.append(Bug("in the connection"))
    async with working(server):
        server.activity_tasks.put_nowait(activity_task("step"))
        answer: Any = await server.answers.get()
    assert isinstance(answer, service.RespondActivityTaskFailedRequest)
    assert answer.task_token == b"t"
    assert answer.failure.message == "the attempt ended, and to answer that failed: in the connection"
    assert answer.failure.application_failure_info.type == "Bug"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [Bug]


async def test_a_failure_that_is_refused_is_told_in_short() -> None:
    server = FakeServer()
    server.troubles.append(refusal("next_retry_delay: more than 100 years"))
    async with working(server):
        server.activity_tasks.put_nowait(activity_task("declines"))
        answer: Any = await server.answers.get()
    info = answer.failure.application_failure_info
    assert answer.failure.message == "declined (not all of it was taken: next_retry_delay: more than 100 years)"
    assert (info.type, info.non_retryable) == ("Declined", True)
    assert not info.HasField("next_retry_delay")
    assert not info.HasField("details")


@pytest.mark.parametrize("jitter", [b"a lot", b"nan", b"-3", b"", b"\xff"])
async def test_a_jitter_that_nobody_understands_is_none(jitter: bytes) -> None:
    server = FakeServer()
    task = activity_task("unknown")
    task.header.fields[JITTER_HEADER].data = jitter
    async with working(server):
        server.activity_tasks.put_nowait(task)
        answer: Any = await server.answers.get()
    assert "is not registered" in answer.failure.message
    assert not answer.failure.application_failure_info.HasField("next_retry_delay")


async def test_a_cancellation_whose_details_are_refused_is_confirmed_without_them() -> None:
    server = FakeServer()
    server.on_heartbeat = lambda: service.RecordActivityTaskHeartbeatResponse(cancel_requested=True)
    server.troubles.append(refusal())
    async with working(server):
        server.activity_tasks.put_nowait(activity_task("stops"))
        answer: Any = await server.answers.get()
    assert isinstance(answer, service.RespondActivityTaskCanceledRequest)
    first = next(r for r in server.requests if isinstance(r, service.RespondActivityTaskCanceledRequest))
    assert first is answer, "the request is sent again, without its details"
    assert not answer.HasField("details")


async def test_heartbeats_go_on_after_one_that_broke(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer()

    def broken_once() -> service.RecordActivityTaskHeartbeatResponse:
        if len(server.heartbeats) == 1:
            raise Bug("in the connection")
        return service.RecordActivityTaskHeartbeatResponse(cancel_requested=len(server.heartbeats) == 3)

    server.on_heartbeat = broken_once
    async with working(server):
        server.activity_tasks.put_nowait(activity_task("beats", heartbeat=10))
        await until(lambda: len(server.heartbeats) >= 3, 0.001)
    assert "heartbeat of beats not delivered" in caplog.text


async def test_a_workflow_task_that_cannot_be_answered_is_failed(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer()
    server.troubles.append(Bug("in the connection"))
    async with working(server):
        server.workflow_tasks.put_nowait(workflow_task("quick", first_events("quick")))
        answer: Any = await server.answers.get()
    assert isinstance(answer, service.RespondWorkflowTaskFailedRequest)
    assert answer.failure.application_failure_info.type == "Bug"
    assert Bug in [record.exc_info[0] for record in caplog.records if record.exc_info]


async def test_a_failure_of_a_workflow_task_that_is_refused_is_told_in_short() -> None:
    server = FakeServer()
    server.troubles.append(refusal())
    async with working(server):
        server.workflow_tasks.put_nowait(workflow_task("nobody knows it", first_events("nobody knows it")))
        answer: Any = await server.answers.get()
    assert "is not registered" in answer.failure.message
    assert answer.failure.message.endswith("(not all of it was taken: too large)")


@pytest.mark.parametrize("trouble", [refusal(), Bug("in the connection")])
async def test_an_answer_to_a_query_that_is_not_taken_is_one_that_failed(trouble: Exception) -> None:
    server = FakeServer()
    server.histories["rid"] = [*first_events("Asked"), event(4, "WORKFLOW_TASK_COMPLETED")]
    task = workflow_task("Asked", [])
    task.query.CopyFrom(WorkflowQuery(query_type="question"))
    server.troubles.append(trouble)
    async with working(server):
        server.workflow_tasks.put_nowait(task)
        answer: Any = await server.answers.get()
    assert answer.completed_type == QueryResultType.QUERY_RESULT_TYPE_FAILED
    assert answer.error_message.startswith("the workflow answered, and the answer could not be sent: ")
    assert answer.failure.message == answer.error_message


async def test_a_local_activity_that_cannot_be_run_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise Bug("in the worker")

    monkeypatch.setattr(local_activities, "_threshold", broken)
    monkeypatch.setattr(local_activities, "next_backoff_ns", broken)
    monkeypatch.setattr(local_activities.LocalActivities, "_attempt", broken)
    server = FakeServer()
    async with working(server):
        server.workflow_tasks.put_nowait(workflow_task("local", first_events("local")))
        answer: Any = await server.answers.get()
    failures = [command.record_marker_command_attributes.failure for command in answer.commands]
    assert [failure.application_failure_info.type for failure in failures if failure.message] == ["Bug"]


async def test_a_call_that_raises_keeps_no_other_from_being_made(caplog: pytest.LogCaptureFixture) -> None:
    returns = Returns(asyncio.get_running_loop())
    made: list[int] = []

    def call(number: int) -> None:
        if number == 1:
            raise Bug
        made.append(number)

    for number in range(3):
        returns.put(call, number)
    await until(lambda: len(made) == 2)
    assert made == [0, 2]
    assert "was not taken" in caplog.text


async def test_a_job_that_raises_keeps_nobody_waiting_and_costs_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    hands = ThreadHands(Returns(asyncio.get_running_loop()), 1, "test")

    def job() -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="a job raised SystemExit"):
        await hands.submit(job)
    assert await hands.submit(lambda: threading.current_thread().name) == "test-1"
    hands.stop()
    assert "a job raised" in caplog.text


def test_the_failure_of_an_attempt_is_written_where_it_was_raised() -> None:
    threads: list[str] = []

    class Slow(Exception):
        def __str__(self) -> str:
            threads.append(threading.current_thread().name)
            return "slow"

    @activity
    def fails() -> None:
        raise Slow

    attempt = Attempt(activity_task("fails"), fails, Converter(), "q", cast(Any, None), None)
    outcomes: list[Any] = []
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: outcomes.append(context.run(run_sync, attempt)), name="the activity's")
    thread.start()
    thread.join(10)
    assert threads == ["the activity's"]
    assert isinstance(outcomes[0], Raised)
    assert isinstance(outcomes[0].failure, Failure)
    assert outcomes[0].failure.message == "slow"


class BadMachine:
    """Raises whatever is asked of it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.history_length = 0
        self.closed = threading.Event()

    def process(self, task: Any) -> Any:
        raise self.error

    def close(self) -> None:
        self.closed.set()
        raise Bug("in its clean-up")


ENDS: list[tuple[BaseException, str]] = [
    (StopIteration(3), "workflow code raised StopIteration: 3"),
    (SystemExit(3), "workflow code raised SystemExit: 3"),
    (asyncio.CancelledError(), "workflow code raised CancelledError: "),
    (Bug("a bug"), "a bug"),
]


@pytest.mark.parametrize(("error", "text"), ENDS)
async def test_whatever_a_machine_raises_is_handed_on(error: BaseException, text: str) -> None:
    returns = Returns(asyncio.get_running_loop())
    for executor in (InlineWorkflows(), WorkflowThread(returns, 0, lambda home: None)):
        run = CachedRun("rid", cast(Any, quick), cast(Any, BadMachine(error)), executor.home)
        with pytest.raises(Exception, match=text):
            await asyncio.wait_for(executor.process(run, workflow_task("quick", [])), 10)
        await executor.stop()


async def test_a_run_that_cannot_be_closed_costs_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    thread = WorkflowThread(Returns(asyncio.get_running_loop()), 0, lambda home: None)
    machine = BadMachine(Bug("a bug"))
    run = CachedRun("rid", cast(Any, quick), cast(Any, machine), thread.home)
    thread.dispose(run)
    with pytest.raises(Bug):
        await asyncio.wait_for(thread.process(run, workflow_task("quick", [])), 10)
    await thread.stop()
    assert machine.closed.is_set()
    assert "could not be closed" in caplog.text
