"""Workflow tasks: cached or replayed, answered, failed with a reason; and a thread that is blocked."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import CommandType, WorkflowTaskFailedCause
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.sdk.activity import activity
from perdure.sdk.declare.definitions import Registry
from perdure.sdk.worker import QueueWorker, WorkerConfig
from perdure.sdk.worker.config import Footing
from perdure.sdk.workflow.workflow import call, workflow
from tests.sdk.worker.fake import FakeServer, activity_task, event, first_events, workflow_task

COMPLETE = CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION
SCHEDULE = CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK
UNHANDLED = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE

gate = threading.Event()


@activity
def step(number: int) -> int:
    return number


@workflow
def quick(name: str) -> str:
    return f"hello {name}"


@workflow
def stepping() -> int:
    return call(step, 1)


@workflow
def broken() -> None:
    raise KeyError("a bug")


@workflow(guard=False)
def blocking() -> None:
    gate.wait()


@asynccontextmanager
async def working(server: FakeServer, footing: Footing | None = None, **config: Any) -> AsyncIterator[QueueWorker]:
    registry = Registry([quick, stepping, broken, blocking], [step])
    worker = QueueWorker(cast(Any, server), "q", registry, config=WorkerConfig(**config), footing=footing)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


def scheduled_and_done() -> list[Any]:
    """History behind the first workflow task of `stepping`: its activity has completed."""
    scheduled = event(5, "ACTIVITY_TASK_SCHEDULED")
    scheduled.activity_task_scheduled_event_attributes.activity_id = "1"
    scheduled.activity_task_scheduled_event_attributes.activity_type.name = "step"
    completed = event(7, "ACTIVITY_TASK_COMPLETED")
    completed.activity_task_completed_event_attributes.scheduled_event_id = 5
    result = completed.activity_task_completed_event_attributes.result.payloads.add()
    result.metadata["encoding"] = b"json/plain"
    result.data = b"1"
    return [
        event(4, "WORKFLOW_TASK_COMPLETED"),
        scheduled,
        event(6, "ACTIVITY_TASK_STARTED"),
        completed,
        event(8, "WORKFLOW_TASK_SCHEDULED"),
        event(9, "WORKFLOW_TASK_STARTED"),
    ]


async def test_a_new_run_is_answered_with_its_commands() -> None:
    server = FakeServer()
    async with working(server) as worker:
        server.workflow_tasks.put_nowait(workflow_task("quick", first_events("quick", "ann")))
        answer: Any = await server.answers.get()
    assert [c.command_type for c in answer.commands] == [COMPLETE]
    result = answer.commands[0].complete_workflow_execution_command_attributes.result.payloads[0]
    assert result.data == b'"hello ann"'
    assert (answer.task_token, answer.identity) == (b"w", worker.name.identity)
    assert worker.cached_runs == 0


@pytest.mark.parametrize("fails_repeatedly", [True, False])
async def test_a_far_server_is_told_of_the_first_failure_and_paces_the_others_itself(fails_repeatedly: bool) -> None:
    server = FakeServer()
    failed = service.RespondWorkflowTaskFailedRequest
    async with working(server, Footing(fails_repeatedly), workflow_slots=1, workflow_polls=1):
        for attempt in (1, 2):
            task = workflow_task("broken", first_events("broken"))
            task.attempt = attempt
            server.workflow_tasks.put_nowait(task)
        server.workflow_tasks.put_nowait(workflow_task("quick", first_events("quick", "ann")))
        answers: list[Any] = [await server.answers.get()]
        while isinstance(answers[-1], failed):
            answers.append(await server.answers.get())
    assert [type(answer) for answer in answers[:-1]] == [failed] * (2 if fails_repeatedly else 1)


async def test_a_run_that_waits_is_kept_and_goes_on_from_the_sticky_queue() -> None:
    server = FakeServer()
    async with working(server) as worker:
        server.workflow_tasks.put_nowait(workflow_task("stepping", first_events("stepping")))
        answer: Any = await server.answers.get()
        assert [c.command_type for c in answer.commands] == [SCHEDULE]
        assert answer.sticky_attributes.worker_task_queue.name == worker.name.sticky_queue
        assert answer.return_new_workflow_task
        server.sticky_tasks.put_nowait(workflow_task("stepping", scheduled_and_done()))
        answer = await server.answers.get()
    assert [c.command_type for c in answer.commands] == [COMPLETE]
    # Nobody asked for the history again: the run was in memory.
    assert all(isinstance(r, service.RespondWorkflowTaskCompletedRequest) for r in server.requests[:2])


async def test_a_run_that_is_not_cached_is_replayed_from_its_whole_history() -> None:
    server = FakeServer()
    server.histories["rid"] = [*first_events("stepping"), *scheduled_and_done()]
    async with working(server):
        server.sticky_tasks.put_nowait(workflow_task("stepping", scheduled_and_done()))
        answer: Any = await server.answers.get()
    assert [c.command_type for c in answer.commands] == [COMPLETE]


async def test_further_pages_of_a_history_are_fetched() -> None:
    server = FakeServer()
    events = [*first_events("stepping"), *scheduled_and_done()]
    server.histories["rid"] = events
    task = workflow_task("stepping", events[:2])
    task.started_event_id, task.next_page_token = 9, b"2"
    async with working(server):
        server.workflow_tasks.put_nowait(task)
        answer: Any = await server.answers.get()
    assert [c.command_type for c in answer.commands] == [COMPLETE]


async def test_the_next_task_comes_with_the_answer_to_the_last() -> None:
    server = FakeServer()
    server.next_workflow_tasks.append(workflow_task("stepping", scheduled_and_done(), token=b"second"))
    async with working(server):
        server.workflow_tasks.put_nowait(workflow_task("stepping", first_events("stepping")))
        await server.answers.get()
        answer: Any = await server.answers.get()
    assert answer.task_token == b"second"
    assert [c.command_type for c in answer.commands] == [COMPLETE]


async def test_an_activity_that_comes_with_the_answer_is_run() -> None:
    server = FakeServer()
    server.eager_activity_tasks.append(activity_task("step", 5, token=b"eager"))
    async with working(server):
        server.workflow_tasks.put_nowait(workflow_task("stepping", first_events("stepping")))
        await server.answers.get()
        answer: Any = await server.answers.get()
    assert isinstance(answer, service.RespondActivityTaskCompletedRequest)
    assert (answer.task_token, answer.result.payloads[0].data) == (b"eager", b"5")


async def test_an_unknown_workflow_type_fails_its_task_and_the_message_lists_the_known() -> None:
    server = FakeServer()
    async with working(server):
        server.workflow_tasks.put_nowait(workflow_task("nobody_knows", first_events("nobody_knows")))
        answer: Any = await server.answers.get()
        server.workflow_tasks.put_nowait(workflow_task("quick", first_events("quick", "bob")))
        assert isinstance(await server.answers.get(), service.RespondWorkflowTaskCompletedRequest)
    assert isinstance(answer, service.RespondWorkflowTaskFailedRequest)
    assert "'nobody_knows' is not registered" in answer.failure.message
    assert "blocking, broken, quick, stepping" in answer.failure.message


async def test_a_bug_fails_the_task_with_its_place_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer()
    async with working(server) as worker:
        server.workflow_tasks.put_nowait(workflow_task("broken", first_events("broken")))
        answer: Any = await server.answers.get()
        assert worker.cached_runs == 0
    assert isinstance(answer, service.RespondWorkflowTaskFailedRequest)
    assert answer.failure.application_failure_info.type == "KeyError"
    assert "test_workflow_tasks.py" in answer.failure.stack_trace
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    (said,) = warnings
    line, *trace = said.splitlines()
    assert line.startswith("workflow task of broken 'wid' failed (attempt 1, tried again until the code is mended): ")
    assert re.search(r": KeyError: 'a bug' \(at test_workflow_tasks\.py:\d+ in broken\)$", line)
    assert trace[0] == "Traceback (most recent call last):" and trace[-1] == "KeyError: 'a bug'"


async def test_an_answer_is_sent_again_while_the_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.sdk.worker.delivery.FIRST_PAUSE_S", 0)
    server = FakeServer()
    server.troubles.extend([Rejected(StatusCode.UNAVAILABLE, "away"), Rejected(StatusCode.RESOURCE_EXHAUSTED, "busy")])
    async with working(server):
        server.workflow_tasks.put_nowait(workflow_task("quick", first_events("quick", "ann")))
        await server.answers.get()
    assert not server.troubles


@pytest.mark.parametrize("code", [StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT])
async def test_a_run_whose_answer_was_refused_is_not_kept(code: StatusCode) -> None:
    server = FakeServer()
    server.troubles.append(Rejected(code, "no"))
    server.histories["rid"] = [*first_events("stepping"), *scheduled_and_done()]
    async with working(server) as worker:
        server.workflow_tasks.put_nowait(workflow_task("stepping", first_events("stepping")))
        server.sticky_tasks.put_nowait(workflow_task("quick", first_events("quick", "x"), run_id="other"))
        await server.answers.get()
        assert worker.cached_runs == 0


async def test_code_that_blocks_fails_alone_and_names_its_line(caplog: pytest.LogCaptureFixture) -> None:
    server = FakeServer()
    gate.clear()
    async with working(server, deadlock_timeout=0.4) as worker:
        server.workflow_tasks.put_nowait(workflow_task("stepping", first_events("stepping"), run_id="cached"))
        await server.answers.get()
        assert worker.cached_runs == 1
        server.workflow_tasks.put_nowait(workflow_task("blocking", first_events("blocking"), token=b"blocked"))
        server.workflow_tasks.put_nowait(workflow_task("quick", first_events("quick", "ann"), run_id="behind"))
        answers: list[Any] = [await server.answers.get(), await server.answers.get()]
        assert worker.cached_runs == 0
    failed, completed = sorted(answers, key=lambda a: isinstance(a, service.RespondWorkflowTaskCompletedRequest))
    assert completed.commands[0].command_type == COMPLETE
    assert (failed.task_token, failed.cause) == (b"blocked", UNHANDLED)
    line = blocking.fn.__code__.co_firstlineno + 2
    assert f"{__file__}:{line}, in blocking" in failed.failure.message
    assert "gate.wait()" in failed.failure.stack_trace
    assert failed.failure.application_failure_info.type == "WorkflowBlockedError"
    assert "the workflow thread was blocked and is replaced" in caplog.text
    gate.set()


async def test_runs_beyond_the_bound_are_let_go() -> None:
    server = FakeServer()
    async with working(server, cached_runs=2) as worker:
        for number in range(5):
            task = workflow_task("stepping", first_events("stepping"), run_id=f"run {number}")
            server.workflow_tasks.put_nowait(task)
            await server.answers.get()
        await asyncio.sleep(0)
        assert worker.cached_runs == 2


class Slow(FakeServer):
    """Takes its time with the answers of runs that went on, until `hurry`."""

    def __init__(self) -> None:
        super().__init__()
        self.held = 0
        self.hurry = asyncio.Event()

    async def respond_workflow_task_completed(self, request: Any) -> Any:
        if request.task_token == b"on":
            self.held += 1
            await self.hurry.wait()
        return await super().respond_workflow_task_completed(request)


async def test_few_runs_are_replayed_at_a_time_and_new_ones_do_not_wait_for_them() -> None:
    server = Slow()
    async with working(server, replay_slots=2, workflow_polls=10):
        for number in range(4):
            on = workflow_task("stepping", first_events("stepping") + scheduled_and_done(), run_id=f"run {number}")
            on.task_token, on.previous_started_event_id, on.started_event_id = b"on", 3, 9
            server.workflow_tasks.put_nowait(on)
        for number in range(3):  # behind them, and answered before them
            new = workflow_task("quick", first_events("quick", "ann"), run_id=f"new {number}")
            server.workflow_tasks.put_nowait(new)
            answer: Any = await server.answers.get()
            assert answer.task_token == b"w"
        assert server.held == 2
        server.hurry.set()
        answers: list[Any] = [await server.answers.get() for _ in range(4)]
        assert [answer.task_token for answer in answers] == [b"on"] * 4


async def test_the_server_is_told_of_the_shutdown_before_polls_end() -> None:
    server = FakeServer()
    async with working(server) as worker:
        name = worker.name
    last: Any = server.requests[-1]
    assert isinstance(last, service.ShutdownWorkerRequest)
    assert (last.sticky_task_queue, last.worker_instance_key) == (name.sticky_queue, name.instance_key)
    assert server.waiting_polls == 0
