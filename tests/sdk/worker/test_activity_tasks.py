"""Activity attempts: results, failures, heartbeats, cancellation, time-outs, shutdown."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.activity import ActivityInfo, activity
from perdure.sdk.declare.definitions import ActivityDefinition, Registry, Shelf, SyncActivity
from perdure.sdk.errors import ApplicationError, CancelledError, DefinitionError, EngineError
from perdure.sdk.options import activity_options
from perdure.sdk.worker import QueueWorker, WorkerConfig
from perdure.sdk.worker.worker import WorkerSeams
from perdure.testing.virtual_time import VirtualTimeLoop, run_virtual
from tests.sdk.worker.fake import FakeServer, activity_task, until

seen: list[Any] = []
entered = threading.Event()


@activity
def double(number: int) -> int:
    return number * 2


@activity
async def double_async(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


@activity
def tell() -> str:
    seen.append(activity.info())
    return threading.current_thread().name


@activity
def fail() -> None:
    raise ApplicationError("declined", type="Declined", non_retryable=True, details=[51])


@activity
def unserialisable() -> object:
    return {"lock": threading.Lock()}


@activity
def huge() -> bytes:
    return b"x" * 3_000_000


@activity(heartbeat_timeout="10s")
async def beating() -> str:
    for number in range(100):
        activity.heartbeat(number)
        await asyncio.sleep(1)
    return "done"


@activity
async def endless() -> str:
    seen.append("started")
    try:
        await asyncio.Event().wait()
    finally:
        seen.append("cleaned up")
    return "never"


@activity
async def stubborn() -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "finished all the same"
    return "never"


@activity
async def cancelled_without_cause() -> None:
    raise asyncio.CancelledError


@activity
def waiting() -> str:
    entered.set()
    activity.wait_for_cancelled_sync()
    seen.append("told")
    activity.heartbeat()
    return "never"


ALL = [
    double, double_async, tell, fail, unserialisable, huge, beating, endless, stubborn,
    cancelled_without_cause, waiting,
]  # fmt: skip


@asynccontextmanager
async def working(server: FakeServer, *, inline: bool = False, **config: Any) -> AsyncIterator[QueueWorker]:
    seen.clear()
    config.setdefault("shutdown_grace", 0)
    worker = QueueWorker(
        cast(Any, server),
        "q",
        Registry([], ALL),
        config=WorkerConfig(**config),
        identity="me",
        seams=WorkerSeams(inline, "key"),
    )
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def answer_to(task: Any) -> Any:
    server = FakeServer()
    async with working(server):
        server.activity_tasks.put_nowait(task)
        return await server.answers.get()


@pytest.mark.parametrize("name", ["double", "double_async"])
async def test_a_result_is_sent(name: str) -> None:
    answer = await answer_to(activity_task(name, 21, token=b"mine"))
    assert isinstance(answer, service.RespondActivityTaskCompletedRequest)
    assert (answer.task_token, answer.identity, answer.namespace) == (b"mine", "me", "default")
    assert answer.result.payloads[0].data == b"42"


async def test_an_attempt_knows_itself_and_its_key_is_the_same_for_every_attempt() -> None:
    task = activity_task("tell", attempt=3, start_to_close=30, schedule_to_close=60, heartbeat=5)
    task.heartbeat_details.payloads.add(metadata={"encoding": b"json/plain"}, data=b"7")
    answer = await answer_to(task)
    assert answer.result.payloads[0].data.startswith(b'"perdure')  # a thread of the pool, not the loop's
    info: ActivityInfo = seen[0]
    assert (info.workflow_id, info.run_id, info.activity_id, info.activity_type) == ("wid", "rid", "1", "tell")
    assert (info.attempt, info.task_queue, info.heartbeat_details) == (3, "q", (7,))
    assert info.idempotency_key == "rid:1"
    assert info.started_at - info.scheduled_at == timedelta(seconds=2)
    assert info.deadline == info.started_at + timedelta(seconds=30)


async def test_a_failure_says_how_to_retry() -> None:
    answer = await answer_to(activity_task("fail"))
    assert isinstance(answer, service.RespondActivityTaskFailedRequest)
    info = answer.failure.application_failure_info
    assert (answer.failure.message, info.type, info.non_retryable) == ("declined", "Declined", True)
    assert "in fail" in answer.failure.stack_trace


async def test_an_unknown_activity_may_be_retried_elsewhere_and_the_message_lists_the_known() -> None:
    answer = await answer_to(activity_task("nobody_knows"))
    assert isinstance(answer, service.RespondActivityTaskFailedRequest)
    assert not answer.failure.application_failure_info.non_retryable
    assert "'nobody_knows' is not registered" in answer.failure.message
    assert "double, double_async" in answer.failure.message


async def test_arguments_that_do_not_fit_fail_for_good() -> None:
    answer = await answer_to(activity_task("double", "many"))
    assert answer.failure.application_failure_info.non_retryable
    place = "the arguments of activity double [0] (number)"
    assert f"{place} does not decode to int: Expected `int`, got `str`" in answer.failure.message


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("unserialisable", "the result of activity unserialisable cannot be serialised: value['lock'] is of type"),
        ("huge", "the result of activity huge: 3,000,000 bytes are more than"),
    ],
)
async def test_a_result_that_cannot_be_kept_fails_for_good(name: str, complaint: str) -> None:
    answer = await answer_to(activity_task(name))
    assert isinstance(answer, service.RespondActivityTaskFailedRequest)
    assert answer.failure.application_failure_info.non_retryable
    assert answer.failure.message.startswith(complaint)


async def test_a_result_that_the_server_refuses_becomes_a_failure() -> None:
    server = FakeServer()
    server.troubles.append(Rejected(StatusCode.INVALID_ARGUMENT, "too big for me"))
    async with working(server):
        server.activity_tasks.put_nowait(activity_task("double", 1))
        answer: Any = await server.answers.get()
    assert isinstance(answer, service.RespondActivityTaskFailedRequest)
    assert "too big for me" in answer.failure.message


async def test_a_result_survives_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.sdk.worker.delivery.FIRST_PAUSE_S", 0)
    server = FakeServer()
    server.troubles.extend([Rejected(StatusCode.UNAVAILABLE, "away")] * 5)
    async with working(server):
        server.activity_tasks.put_nowait(activity_task("double", 1))
        assert isinstance(await server.answers.get(), service.RespondActivityTaskCompletedRequest)


async def test_a_late_answer_is_dropped_and_the_worker_goes_on() -> None:
    server = FakeServer()
    server.troubles.append(Rejected(StatusCode.NOT_FOUND, "gone"))
    async with working(server, activity_slots=1):
        server.activity_tasks.put_nowait(activity_task("double", 1))
        server.activity_tasks.put_nowait(activity_task("double", 2))
        answer: Any = await server.answers.get()
    assert answer.result.payloads[0].data == b"4"


def test_heartbeats_are_gathered_and_the_latest_wins() -> None:
    async def main(loop: VirtualTimeLoop) -> list[bytes]:
        server = FakeServer()
        async with working(server, inline=True):
            server.activity_tasks.put_nowait(activity_task("beating", heartbeat=10, start_to_close=1000))
            await server.answers.get()
        return [h.details.payloads[0].data for h in server.heartbeats]

    # One at once, then every 8 s (0.8 of the time-out) the latest of that moment.
    assert run_virtual(main)[:4] == [b"0", b"7", b"15", b"23"]


def test_details_that_were_not_sent_yet_go_with_the_failure() -> None:
    async def main(loop: VirtualTimeLoop) -> Any:
        server = FakeServer()
        async with working(server, inline=True, shutdown_grace=3.5):
            server.activity_tasks.put_nowait(activity_task("beating", heartbeat=10, start_to_close=1000))
            await asyncio.sleep(1)
        return await server.answers.get()

    answer = run_virtual(main)
    assert answer.failure.application_failure_info.type == "WorkerShutdown"
    assert answer.last_heartbeat_details.payloads[0].data == b"4"


def test_a_cancellation_learnt_from_a_heartbeat_is_confirmed() -> None:
    async def main(loop: VirtualTimeLoop) -> Any:
        server = FakeServer()
        server.on_heartbeat = lambda: service.RecordActivityTaskHeartbeatResponse(cancel_requested=True)
        async with working(server, inline=True):
            server.activity_tasks.put_nowait(activity_task("beating", heartbeat=10))
            return await server.answers.get()

    assert isinstance(run_virtual(main), service.RespondActivityTaskCanceledRequest)


async def test_a_thread_learns_of_its_cancellation() -> None:
    server = FakeServer()
    entered.clear()
    async with working(server) as worker:
        server.activity_tasks.put_nowait(activity_task("waiting"))
        await asyncio.to_thread(entered.wait)
        assert worker is not None
    answer: Any = await server.answers.get()
    assert answer.failure.application_failure_info.type == "WorkerShutdown"


def test_an_attempt_that_the_server_gave_up_is_left_unanswered() -> None:
    async def main(loop: VirtualTimeLoop) -> int:
        server = FakeServer()

        def gone() -> service.RecordActivityTaskHeartbeatResponse:
            raise Rejected(StatusCode.NOT_FOUND, "workflow closed")

        server.on_heartbeat = gone
        async with working(server, inline=True):
            server.activity_tasks.put_nowait(activity_task("beating", heartbeat=10))
            server.activity_tasks.put_nowait(activity_task("double", 1))
            await asyncio.sleep(100)
        return server.answers.qsize()

    assert run_virtual(main) == 1


def test_an_async_activity_is_stopped_when_its_time_is_up() -> None:
    async def main(loop: VirtualTimeLoop) -> tuple[list[Any], int, float]:
        server = FakeServer()
        async with working(server, inline=True):
            server.activity_tasks.put_nowait(activity_task("endless", start_to_close=30, schedule_to_close=12))
            await until(lambda: "cleaned up" in seen, step_s=1)
        return list(seen), server.answers.qsize(), loop.time()

    happened, answers, time = run_virtual(main)
    assert happened == ["started", "cleaned up"]
    assert answers == 0
    # Of the 12 s of all attempts 2 s had passed before this one started.
    assert 10 <= time <= 11


async def test_a_thread_is_told_when_its_time_is_up() -> None:
    server = FakeServer()
    entered.clear()
    async with working(server):
        server.activity_tasks.put_nowait(activity_task("waiting", start_to_close=0.001))
        server.activity_tasks.put_nowait(activity_task("waiting", start_to_close=0.001))
        await until(lambda: seen.count("told") == 2)
    assert server.answers.empty()


async def test_a_result_that_comes_in_spite_of_the_shutdown_counts() -> None:
    server = FakeServer()
    async with working(server):
        server.activity_tasks.put_nowait(activity_task("stubborn"))
        await until(server.activity_tasks.empty)
    assert isinstance(await server.answers.get(), service.RespondActivityTaskCompletedRequest)


async def test_a_cancellation_nobody_asked_for_is_an_ordinary_failure() -> None:
    answer = await answer_to(activity_task("cancelled_without_cause"))
    assert isinstance(answer, service.RespondActivityTaskFailedRequest)
    assert answer.failure.application_failure_info.type == "CancelledError"


async def test_more_tasks_than_slots_wait_in_the_queue() -> None:
    server = FakeServer()
    async with working(server, activity_slots=3, activity_polls=2, workflow_polls=0):
        for _ in range(10):
            server.activity_tasks.put_nowait(activity_task("endless"))
        await until(lambda: len(seen) == 3)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (len(seen), server.activity_tasks.qsize(), server.waiting_polls) == (3, 7, 0)
    assert server.most_waiting_polls <= 2


def test_outside_of_an_activity_the_questions_say_so() -> None:
    with pytest.raises(EngineError, match="not inside an activity"):
        activity.info()
    with pytest.raises(EngineError, match="not inside an activity"):
        activity.heartbeat()


def test_outside_of_a_workflow_an_activity_is_the_plain_function() -> None:
    assert double(4) == 8
    assert asyncio.run(double_async(4)) == 8


def test_our_cancelled_error_is_an_ordinary_exception() -> None:
    assert issubclass(CancelledError, Exception)
    assert not issubclass(CancelledError, asyncio.CancelledError)


async def test_an_unknown_namespace_is_an_error_at_start() -> None:
    with pytest.raises(EngineError, match="'nowhere' does not exist"):
        await QueueWorker(cast(Any, FakeServer()), "q", Registry([], ALL), namespace="nowhere").start()


async def test_a_worker_that_is_to_run_two_of_one_name_does_not_start() -> None:
    shelf = Shelf("activity", ActivityDefinition, collecting=True)
    for function in (double.fn, fail.fn):
        shelf.add(SyncActivity[Any, Any](function, name="alike", options=activity_options()))
    with pytest.raises(DefinitionError, match="two activities are named 'alike'"):
        await QueueWorker(cast(Any, FakeServer()), "q", Registry((), shelf)).start()
