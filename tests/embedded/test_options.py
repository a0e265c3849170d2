"""An option that there is not is refused at its line, with the one that was meant and all that there are."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Iterator
from types import FunctionType, SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec

import pytest

import perdure
import perdure.interventions
import perdure.schedules
import perdure.testing
from perdure import (
    ApplicationError,
    AsyncEngine,
    Engine,
    Retry,
    Saga,
    WorkerConfig,
    activity,
    call,
    start,
    start_child,
    workflow,
)
from perdure.schedules import Calendar
from perdure.sdk.client.activities import Activities, AsyncActivities
from perdure.sdk.client.attributes import SearchAttributeRegistry
from perdure.sdk.client.events import AsyncEvents, Events
from perdure.sdk.option_names import meant_by
from perdure.testing import TestEngine


@activity
def charge(order: str, cents: int = 1) -> str:
    return order


@workflow
def buy(order: str, cents: int = 1) -> str:
    return call(charge, order, cents)


@workflow
class Order:
    @workflow.run
    def run(self, order: str) -> str:
        return order


REFUSALS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "@activity retry_policy": (lambda e: declare(retry_policy=1), ": write retry=Retry(maximum_attempts=...);"),
    "@activity retries": (lambda e: declare(retries=3), "retry=Retry(maximum_attempts=...); the options are: name,"),
    "@activity timeout": (lambda e: declare(timeout=3), ": write start_to_close_timeout;"),
    "@activity Heartbeat": (lambda e: declare(Heartbeat=3), ": write heartbeat_timeout;"),
    "@activity strat_to_close": (lambda e: declare(strat_to_close=3), ": write start_to_close_timeout;"),
    "options() max_attempts": (lambda e: CHARGE.options(max_attempts=3), ": write retry=Retry("),
    "@workflow foo": (lambda e: WORKFLOW(foo=1), "; the options are: name, fail_on, guard, dynamic"),
    "@workflow sandboxed": (lambda e: WORKFLOW(sandboxed=False), ": write guard=False;"),
    "signal() unfinished_policy": (lambda e: WORKFLOW.signal(unfinished_policy=1), ": write unfinished;"),
    "run() order": (lambda e: e.run(buy, order="1"), ": it is an argument of buy, and arguments are given by position"),
    "run() cents": (lambda e: e.run(buy, "1", cents=1), "position, as in run(buy, order, cents); the options are: id"),
    "start() order": (lambda e: e.start(Order, order="1"), "position, as in start(Order, order); the options are: id"),
    "start() workflow_id": (lambda e: e.start(buy, "1", workflow_id="1"), ": write id; the options are: id,"),
    "start() idd": (lambda e: e.start(buy, "1", idd="1"), ": write id;"),
    "start() retry_policy": (lambda e: e.start(buy, "1", retry_policy=1), "; the options are: id, task_queue,"),
    "start() banana": (lambda e: e.start(buy, "1", banana=1), "; the options are: id, task_queue,"),
    "create() order": (lambda e: e.schedules.create("s", buy, order="1"), ", as in create(buy, order, cents);"),
    "create() timezone": (lambda e: e.schedules.create("s", buy, "1", timezone="UTC"), ": write time_zone;"),
    "reset() event": (lambda e: e.get("1").reset(event=3), ": write event_id;"),
    "signal() item": (lambda e: e.get("1").signal("go", item=1), "; the options are: request_id"),
    "list() max": (lambda e: e.list("", max=3), "; the options are: query, limit"),
    "Engine() max_workers": (lambda e: ENGINE("memory://", max_workers=3), ": write max_concurrent_activities;"),
    "Engine() data_converter": (lambda e: ENGINE("memory://", data_converter=3), ": write codec;"),
    "Engine() store": (lambda e: ENGINE(store="memory://"), "; the options are: task_queue,"),
    "TestEngine() retention": (lambda e: TEST_ENGINE(retention="1h"), "; the options are: url,"),
    "Retry() max": (lambda e: RETRY(max=3), ": write maximum_attempts; the options are: initial_interval,"),
    "Retry() factor": (lambda e: RETRY(factor=3), ": write backoff_coefficient;"),
    "Retry() non_retryable": (lambda e: RETRY(non_retryable=["E"]), ": write non_retryable_error_types;"),
    "Calendar() hours": (lambda e: CALENDAR(hours="3"), ": write hour;"),
    "ApplicationError() retryable": (lambda e: ERROR("no", retryable=False), ": write non_retryable;"),
    "Saga() paralel": (lambda e: SAGA(paralel=True), ": write parallel;"),
    "WorkerConfig() slots": (lambda e: CONFIG(slots=3), "; the options are: workflow_slots,"),
}  # fmt: skip
"""A call with one option too many, and what is said of it behind its name."""

# Types would not let these mistakes through; most users have no type checker.
CHARGE: Any = charge
WORKFLOW: Any = workflow
ENGINE: Any = Engine
TEST_ENGINE: Any = TestEngine
RETRY: Any = Retry
CALENDAR: Any = Calendar
ERROR: Any = ApplicationError
SAGA: Any = Saga
CONFIG: Any = WorkerConfig


def declare(**options: Any) -> Any:
    return activity(**options)


@pytest.mark.parametrize("mistake", REFUSALS)
def test_an_option_that_there_is_not_is_refused_with_those_that_there_are(mistake: str) -> None:
    misuse, told = REFUSALS[mistake]
    what, given = mistake.split()
    with TestEngine() as engine, pytest.raises(TypeError) as caught:
        misuse(engine)
    message = str(caught.value)
    assert message.startswith(f"{what} has no option {given!r}")
    assert told in message
    assert "; the options are: " in message and "seams" not in message
    assert traceback.extract_tb(caught.value.__traceback__)[1].name == "<lambda>"


CALL: Any = call
START: Any = start
CHILD: Any = start_child

IN_WORKFLOW_CODE: list[tuple[Callable[[], Any], str]] = [
    (lambda: CHILD(buy, "1", workflow_id="1"), "start_child() has no option 'workflow_id': write id;"),
    (lambda: CHILD(buy, order="1"), "start_child(buy, order, cents)"),
    (lambda: WORKFLOW.sleep(day=1), "sleep() has no option 'day': write days;"),
    (lambda: WORKFLOW.wait_signal("go", result_type=int), "wait_signal() has no option 'result_type': write returns;"),
    (lambda: WORKFLOW.continue_as_new("1", cents=1), "continue_as_new() has no option 'cents'; the options are: work"),
    (lambda: CALL(charge, "1", start_to_close="1s"), "write charge.options(start_to_close_timeout=...) in its place"),
    (
        lambda: START(charge, "1", start_to_close_timeout=1),
        "write charge.options(start_to_close_timeout=...) in its place",
    ),
    (lambda: CALL(charge, "1", cent=1), "charge() has no parameter 'cent': write cents; the parameters are: order,"),
    (lambda: CALL(charge), "charge(): missing a required argument: 'order'; it takes: order, cents"),
    (lambda: CALL(charge, "1", 2, 3), "charge(): too many positional arguments; it takes: order, cents"),
]


@workflow
def misuses(index: int) -> str:
    try:
        IN_WORKFLOW_CODE[index][0]()
    except TypeError as error:
        return str(error)
    return "accepted"


@pytest.mark.parametrize("index", range(len(IN_WORKFLOW_CODE)))
def test_so_is_one_in_workflow_code(index: int) -> None:
    with TestEngine() as engine:
        assert IN_WORKFLOW_CODE[index][1] in engine.run(misuses, index)


def test_a_workflow_given_too_little_says_whose_argument_is_missing() -> None:
    with TestEngine() as engine:
        with pytest.raises(TypeError, match=r"buy\(\): missing a required argument: 'order'; it takes: order, cents"):
            engine.run(buy)  # pyright: ignore
        with pytest.raises(TypeError, match=r"Order\(\): too many positional arguments; it takes: order"):
            engine.run(Order, "1", "order-1")  # pyright: ignore


async def test_an_async_engine_says_it_at_the_call_and_not_when_it_is_awaited() -> None:
    engine: Any = AsyncEngine("memory://")
    with pytest.raises(TypeError, match="run\\(\\) has no option 'idd': write id"):
        engine.run(buy, "1", idd="1")


@pytest.mark.parametrize("limit", [-1, 2**63, 1.5, None])
def test_a_list_takes_a_limit_that_is_a_count(limit: Any) -> None:
    with TestEngine() as engine:
        for face in (engine, engine.schedules):
            with pytest.raises((TypeError, ValueError), match="limit must be"):
                face.list(limit=limit)


def test_a_function_where_a_text_belongs_is_told_its_name() -> None:
    named: Any = workflow.named
    with pytest.raises(TypeError, match="name must be a str, not function: write name='charge'"):
        named(charge.fn)


def with_options() -> Iterator[tuple[str, Any]]:
    """Every public function and constructor that has options, by its name."""
    seen: set[int] = set()
    modules = (perdure, perdure.schedules, perdure.interventions, perdure.testing)
    for namespace in (*modules, FACES, type(workflow), type(activity)):
        for name in getattr(namespace, "__all__", dir(namespace)):
            thing = getattr(namespace, name)
            members = [(name, thing)] if isinstance(thing, FunctionType) else []
            if inspect.isclass(thing) and thing.__module__.startswith("perdure"):
                members = [(f"{name}.{m}", getattr(thing, m)) for m in dir(thing) if not m.startswith("_")]
                if thing in MADE_BY_USERS:
                    members.append((name, thing.__init__))
            for named, member in members:
                is_ours = isinstance(member, FunctionType) and member.__module__.startswith("perdure")
                if is_ours and not named.startswith("_") and id(member) not in seen:
                    seen.add(id(member))
                    kinds = [p.kind for p in inspect.signature(member).parameters.values()]
                    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_KEYWORD not in kinds:
                        yield named, member


FACES = SimpleNamespace(
    Activities=Activities, AsyncActivities=AsyncActivities, AsyncEvents=AsyncEvents, Events=Events,
    SearchAttributeRegistry=SearchAttributeRegistry,
)  # fmt: skip
"""What the properties of an engine give that no module of its own has."""

MADE_BY_USERS = (
    AsyncEngine,
    ApplicationError,
    perdure.AsyncClient,
    perdure.Converter,
    Engine,
    Saga,
    perdure.AsyncWorker,
    perdure.Worker,
    perdure.testing.AsyncTestEngine,
    TestEngine,
)


def test_every_public_function_with_options_does_so() -> None:
    asked = 0
    for name, function in with_options():
        with pytest.raises(TypeError, match=r"has no option 'no_such_option'; the options are: \w+"):
            function(*[MagicMock()] * ("self" in inspect.signature(function).parameters), no_such_option=1)
        asked += 1
        assert name
    assert asked > 70


def test_a_function_that_lists_its_options_is_still_known_for_a_coroutine_function() -> None:
    assert asyncio.iscoroutinefunction(AsyncEngine.run)
    assert not asyncio.iscoroutinefunction(Engine.run)
    assert isinstance(create_autospec(AsyncEngine).start, AsyncMock)
    assert next(iter(inspect.signature(Retry).parameters)) == "initial_interval"


def test_what_nobody_can_guess_is_not_guessed() -> None:
    assert meant_by("colour", ["id", "task_queue"]) is None
    assert meant_by("timeout", ["id", "task_queue"]) is None
    assert meant_by("task_que", ["id", "task_queue"]) == "task_queue"


@pytest.mark.parametrize("bound", ["workflow_slots", "activity_slots", "local_slots", "processes"])
def test_a_worker_that_could_do_nothing_is_refused(bound: str) -> None:
    with pytest.raises(ValueError, match=f"{bound} must be from 1 to"):
        WorkerConfig(**{bound: 0})
    with pytest.raises(TypeError, match=f"{bound} must be an int, not float"):
        WorkerConfig(**{bound: 1.5})  # pyright: ignore[reportArgumentType]


def test_what_a_worker_knows_by_itself_need_not_be_said_and_may_be() -> None:
    gone: Any = WorkerConfig
    with pytest.warns(DeprecationWarning, match="fails_repeatedly= is deprecated: write nothing, for a worker knows"):
        config = gone(fails_repeatedly=False, workflow_slots=3)
    assert config == WorkerConfig(workflow_slots=3)
    with pytest.warns(DeprecationWarning, match="fails_repeatedly is deprecated"):
        assert config.fails_repeatedly is True
    with pytest.raises(TypeError, match="has no option 'shares_store'"):
        gone(shares_store=True)
