"""Headers that interceptors put travel with all that follows from a call: the same on Temporal's server as on ours."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from perdure import Engine, activity, call, call_local, start, start_child, start_local, workflow
from tests.eventually import eventually
from tests.far.tracing import TRACE, Tracing


@activity(name="traced-def")
def in_thread() -> str:
    return TRACE.get()


@activity(name="traced-async")
async def on_loop() -> str:
    return TRACE.get()


@workflow(name="traced-child")
def child() -> list[str]:
    workflow.wait_signal("go")
    return [call(in_thread), call(on_loop), call_local(in_thread)]


@workflow(name="traced-child-async")
class Child:
    def __init__(self) -> None:
        self.went = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.went)
        return [await start(in_thread), await start(on_loop), await start_local(on_loop)]

    @workflow.signal
    def go(self) -> None:
        self.went = True


@workflow(name="traced")
def traced(last: bool) -> list[str]:
    if not last:
        workflow.continue_as_new(True)
    handle = start_child(Child)
    workflow.wait_condition(lambda: handle.run_id)
    handle.signal("go")
    return [call(in_thread), *handle.result()]


@workflow(name="traced-asynchronous")
async def traced_async(last: bool) -> list[str]:
    if not last:
        workflow.continue_as_new(True)
    handle = start_child(child)
    await workflow.wait_condition(lambda: handle.run_id)
    await handle.signal("go")
    return [await start(on_loop), *await handle]


@workflow(name="traced-messages")
class Messages:
    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.done)

    @workflow.signal
    def told(self) -> None: ...

    @workflow.query
    def asked(self) -> str:
        return "yes"

    @workflow.update
    async def changed(self) -> str:
        answer = await start(in_thread)
        self.done = True
        return answer

    @changed.validator
    def _may_change(self) -> None: ...


@pytest.mark.parametrize("body", [traced, traced_async])
def test_a_trace_goes_from_a_client_to_the_childs_activities(url: str, body: Any) -> None:
    tracing = Tracing()
    with Engine(url, task_queue=f"traced-{uuid.uuid4()}", interceptors=[tracing]) as engine:
        TRACE.set("t-1")
        handle = engine.start(body, False, id=f"traced-{uuid.uuid4()}")
        assert handle.result() == ["t-1"] * 4
    kind = ["traced", "traced-child-async"] if body is traced else ["traced-asynchronous", "traced-child"]
    runs = [line for line in tracing.seen if line.split()[0] in kind]
    assert runs == [f"{kind[0]} t-1"] * 2 + [f"{kind[1]} t-1"]
    assert ("signal go t-1" in tracing.seen) is (body is traced), "that which code waits for has no handler"


def test_messages_have_the_trace_of_who_sends_them(url: str) -> None:
    tracing = Tracing()
    with Engine(url, task_queue=f"traced-{uuid.uuid4()}", interceptors=[tracing]) as engine:
        TRACE.set("t-2")
        handle: Any = engine.start(Messages, id=f"traced-{uuid.uuid4()}")
        TRACE.set("t-3")
        handle.signal("told")
        assert handle.query("asked") == ["t-3", "yes"]
        assert handle.update("changed") == "t-2", "its activity has the trace of the run"
        handle.result()
    assert sorted(tracing.seen) == [
        "signal told t-3", "traced-def t-2", "traced-messages t-2", "update changed t-3", "validator changed t-3",
    ]  # fmt: skip


@workflow(name="traced-along")
class Along:
    def __init__(self) -> None:
        self.told: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.told)
        return self.told

    @workflow.signal
    def tell(self) -> None:
        self.told.append("signal")

    @workflow.update
    def change(self) -> str:
        self.told.append("update")
        return "changed"


def test_an_update_that_goes_along_with_a_start_has_headers_of_its_own(url: str) -> None:
    tracing = Tracing()
    with Engine(url, task_queue=f"traced-{uuid.uuid4()}", interceptors=[tracing]) as engine:
        TRACE.set("t-6")
        handle: Any = engine.start(Along, id=f"traced-{uuid.uuid4()}", start_update="change")
        assert handle.update_of_start.result() == "changed"
        assert handle.result() == ["update"]
    assert set(tracing.seen) == {"traced-along t-6", "update change t-6 along"}  # a task may be tried again


def test_a_signal_that_goes_along_shares_the_headers_of_the_start(url: str) -> None:
    """There is one field for both on the wire; what the interceptor says of the signal is what both have."""
    tracing = Tracing()
    with Engine(url, task_queue=f"traced-{uuid.uuid4()}", interceptors=[tracing]) as engine:
        TRACE.set("t-7")
        handle: Any = engine.start(Along, id=f"traced-{uuid.uuid4()}", start_signal="tell")
        assert handle.result() == ["signal"]
    assert set(tracing.seen) == {"signal tell t-7 along", "traced-along t-7 along"}


def test_what_a_schedule_starts_has_the_headers_that_it_was_made_with(url: str) -> None:
    tracing = Tracing()
    name = f"traced-{uuid.uuid4()}"
    with Engine(url, task_queue=name, interceptors=[tracing]) as engine:
        TRACE.set("t-8")
        engine.schedules.create(name, noted, every="30 days", note="nightly", trigger=True)
        acted = eventually(lambda: [run for run in engine.schedules.describe(name).recent if run.run_id], "it acted")
        run = acted[0]
        assert engine.get(run.workflow_id, run.run_id).result() == "t-8 nightly"
        engine.schedules.delete(name)
    assert set(tracing.seen) == {"traced-noted t-8 nightly", "traced-def t-8 nightly"}


@workflow(name="traced-noted")
def noted() -> str:
    return call(in_thread)
