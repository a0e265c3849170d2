"""Wrong ways to use an engine, and what they are told."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from perdure import (
    DeterminismViolation,
    Engine,
    EngineError,
    StoreError,
    WorkflowAlreadyStartedError,
    activity,
    call,
    workflow,
)
from perdure.embedded import AsyncEngine, EngineSeams, seamed, shared_file
from perdure.engine.node.config import EngineConfig
from perdure.errors import DefinitionError, EngineClosedError, UnknownTypeError
from perdure.sdk.declare.definitions import SyncActivity
from perdure.sdk.options import activity_options

holder: dict[str, Any] = {}


@activity
def one() -> int:
    return 1


@activity
async def asks_its_own_engine() -> str:
    try:
        holder["engine"].count()
    except EngineError as error:
        return str(error)
    return "was answered"


@activity
def asks_from_a_thread() -> int:
    return holder["engine"].run(counting)


@workflow
def counting() -> int:
    return call(one)


@workflow
def nested_in_async() -> str:
    return call(asks_its_own_engine)


@workflow
def nested_in_thread() -> int:
    return call(asks_from_a_thread)


@workflow
def asks_in_workflow_code() -> str:
    try:
        holder["engine"].count()
    except DeterminismViolation as error:
        return str(error)
    return "was answered"


@workflow
def asleep() -> None:
    workflow.sleep(days=1)


def test_before_it_is_opened_an_engine_says_so() -> None:
    engine = Engine("memory://")
    with pytest.raises(EngineClosedError, match=r"not opened yet: use it in a `with` block, or call open\(\)"):
        engine.run(counting)


def test_a_closed_engine_says_so_and_is_not_opened_again() -> None:
    with Engine("memory://") as engine:
        handle = engine.start(counting)
    with pytest.raises(EngineClosedError, match="the engine on memory:// is closed"):
        engine.run(counting)
    with pytest.raises(EngineClosedError, match="is closed"):
        handle.result()
    engine.close()
    with pytest.raises(EngineError, match="was opened before; make a new one"):
        engine.open()


async def test_the_async_engine_says_the_same() -> None:
    engine = AsyncEngine("memory://")
    with pytest.raises(EngineClosedError, match="not opened yet"):
        await engine.run(counting)
    async with engine:
        await engine.run(counting)
    with pytest.raises(EngineClosedError, match="is closed"):
        await engine.run(counting)
    await engine.close()
    with pytest.raises(EngineError, match="was opened before"):
        await engine.open()


def test_who_waits_for_a_result_when_the_engine_closes_is_told() -> None:
    told: list[BaseException] = []
    engine = Engine("memory://").open()
    handle = engine.start(asleep)
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        try:
            handle.result()
        except EngineClosedError as error:
            told.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    engine.close()
    thread.join()
    assert len(told) == 1


async def test_an_async_engine_belongs_to_its_loop() -> None:
    async with Engine("memory://") as engine:

        async def elsewhere() -> None:
            with pytest.raises(EngineError, match="opened on another event loop"):
                await engine.count()

        await asyncio.to_thread(lambda: asyncio.run(elsewhere()))


def test_an_engine_does_not_survive_a_fork() -> None:
    with Engine("memory://") as engine:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                engine.count()
            except EngineError as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert "carried into" in os.read(reader, 1000).decode()
        assert engine.run(counting) == 1


def test_an_async_activity_that_would_wait_for_itself_is_told() -> None:
    with Engine("memory://") as engine:
        holder["engine"] = engine
        assert "was asked from its own event loop" in engine.run(nested_in_async)


def test_a_thread_activity_may_use_the_engine() -> None:
    with Engine("memory://") as engine:
        holder["engine"] = engine
        assert engine.run(nested_in_thread) == 1


def test_workflow_code_must_not_ask_the_engine() -> None:
    with Engine("memory://") as engine:
        holder["engine"] = engine
        assert "do it in an activity" in engine.run(asks_in_workflow_code)


@pytest.mark.parametrize("url", ["orders.db", "mysql://x", "sqlite://", "sqlite:///"])
def test_a_url_that_is_not_understood_is_refused_at_once(url: str) -> None:
    with pytest.raises(StoreError, match="write"):
        Engine(url)


def test_a_store_that_cannot_be_opened_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_file, "OPEN_WAIT_S", 0.1)
    alone = EngineSeams(engine_config=EngineConfig(has_duties=False))
    Engine(f"sqlite:///{tmp_path}/orders.db").open().close()
    before = threading.active_count()
    with pytest.raises(StoreError):
        Engine(f"sqlite:///{tmp_path}/no/such/folder/orders.db").open()
    with seamed(Engine, alone, f"sqlite:///{tmp_path}/orders.db"):
        owner = Engine(f"sqlite:///{tmp_path}/orders.db")
        with pytest.raises(StoreError, match=str(os.getpid())):
            owner.open()
    assert threading.active_count() == before


def test_bounds_are_checked() -> None:
    with pytest.raises(ValueError, match="max_concurrent_activities must be at least 1"):
        Engine("memory://", max_concurrent_activities=0)
    with pytest.raises(ValueError, match="memory_limit_mb must be at least 16"):
        Engine("memory://", memory_limit_mb=1)


def test_a_workflow_that_its_worker_does_not_know_is_not_started() -> None:
    with Engine("memory://", workflows=[counting], activities=[one]) as engine:
        assert engine.run(counting) == 1
        with pytest.raises(UnknownTypeError, match="'asleep' is not registered with this worker; it knows: counting"):
            engine.start(asleep)


def test_what_is_not_decorated_is_refused() -> None:
    with pytest.raises(DefinitionError, match="is not decorated with @activity"):
        Engine("memory://", activities=[len])


def test_a_blocking_engine_can_be_used_inside_a_running_loop() -> None:
    async def main() -> int:
        with Engine("memory://") as engine:
            return engine.run(counting)

    assert asyncio.run(main()) == 1


def test_two_activities_of_one_name_are_refused_before_anything_runs() -> None:
    def again() -> int:
        return 2

    alike = [one, SyncActivity[[], int](again, name="one", options=activity_options())]
    alike[1].__qualname__ = "again"  # as if it stood at module level
    with pytest.raises(DefinitionError, match=r"two activities are named 'one': .*tell the engine what to run"):
        Engine("memory://", activities=alike)


def test_a_number_where_a_text_belongs_is_refused_by_name() -> None:
    @workflow(name="misuse.takes_anything")
    def takes_anything(value: object) -> int:
        return 1

    anything: Any = 5
    with Engine("memory://", workflows=[takes_anything], activities=[]) as engine:
        for ask in (lambda: engine.run(takes_anything, 1, id=anything), lambda: engine.get(anything).terminate()):
            with pytest.raises(TypeError, match="id must be a str, not int: write id='5'"):
                ask()
        with pytest.raises(TypeError, match="name must be a str, not int"):
            activity(name=anything)(len)


@pytest.mark.parametrize(
    ("first", "other"), [(1, True), ([1, 1], [1, True]), ({"a": {"b": [0]}}, {"a": {"b": [False]}})]
)
def test_true_is_not_one_to_who_asks_again(first: Any, other: Any) -> None:
    @workflow(name="misuse.is_asked_again")
    def is_asked_again(value: object) -> int:
        return 1

    with Engine("memory://", workflows=[is_asked_again], activities=[]) as engine:
        assert engine.run(is_asked_again, first, id="a") == 1
        assert engine.run(is_asked_again, first, id="a") == 1
        with pytest.raises(WorkflowAlreadyStartedError, match="other arguments"):
            engine.run(is_asked_again, other, id="a")
