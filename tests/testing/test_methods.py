"""Activities with objects: methods, partials, and everything else that can be called; what cannot be says so."""

from __future__ import annotations

import functools
import math
import traceback
import types
from collections.abc import Callable
from typing import Any

import pytest

from perdure import (
    ActivityError,
    Converter,
    Engine,
    Transaction,
    WorkflowFailedError,
    activity,
    call,
    call_local,
    start,
    workflow,
)
from perdure.errors import DefinitionError, UnknownTypeError
from perdure.sdk.declare.definitions import ActivityDefinition, AnyWorkflow, Registry, default_registry
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.testing import TestEngine, assert_replays
from tests.sdk.replay.given import History


class Bank:
    """What an activity needs, and no history should hold."""

    def __init__(self, name: str) -> None:
        self.name = name


class Payments:
    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    @activity(start_to_close_timeout="7s")
    def charge(self, order: str, cents: int = 1) -> str:
        return f"{self.bank.name} charged {cents} for {order}"

    @activity
    async def refund(self, order: str) -> str:
        return f"{self.bank.name} refunded {order}"

    @activity
    @staticmethod
    def rate(currency: str) -> float:
        return len(currency)

    @staticmethod
    @activity
    def limit(currency: str) -> int:
        return len(currency) * 100

    @activity
    @classmethod
    def brand(cls, suffix: str) -> str:
        return cls.__name__ + suffix

    @activity(transactional=True)
    def book(self, tx: Transaction, order: str) -> str:
        return f"{self.bank.name} booked {order}"


@workflow
def buy(order: str) -> list[Any]:
    return [
        call(Payments.charge, order, cents=5),
        call(Payments.charge.options(start_to_close_timeout="3s"), order),
        call(Payments.refund, order),
        call_local(Payments.charge, order),
        call(Payments.rate, "EUR"),  # pyright: ignore - takes every function of a class for a method
        call(Payments.limit, "EUR"),  # pyright: ignore
        call(Payments.brand, "!"),
    ]


@workflow
async def buy_async(order: str) -> str:
    return await start(Payments.refund, order)


BOUGHT = [
    "Nord charged 5 for 1001", "Nord charged 1 for 1001", "Nord refunded 1001", "Nord charged 1 for 1001", 3.0, 300,
    "Payments!",
]  # fmt: skip


def test_the_methods_of_an_object_are_activities() -> None:
    with TestEngine(activities=[Payments(Bank("Nord"))]) as engine:
        assert engine.run(buy, "1001", id="a") == BOUGHT
        assert engine.run(buy_async, "1001") == "Nord refunded 1001"
        assert_replays(engine.get("a").history(), [buy])  # a replay needs no object


def test_each_engine_may_have_an_object_of_its_own() -> None:
    for bank in ("Nord", "Sud"):
        with TestEngine(activities=[Payments(Bank(bank)).refund]) as engine:
            assert engine.run(buy_async, "1001") == f"{bank} refunded 1001"


def test_a_subclass_runs_what_it_inherits_and_what_it_changes() -> None:
    class Cheap(Payments):
        @activity
        async def refund(self, order: str) -> str:
            return "nothing"

    with TestEngine(activities=[Cheap(Bank("Nord"))]) as engine:
        assert engine.run(buy_async, "1001") == "nothing"
        assert engine.run(buy, "1001")[0] == "Nord charged 5 for 1001"


def test_a_transactional_method_is_given_the_transaction_behind_its_object(tmp_path: Any) -> None:
    with Engine(f"sqlite:///{tmp_path}/a.db", activities=[Payments(Bank("Nord"))]) as engine:
        assert engine.run(books, "1001") == "Nord booked 1001"


@workflow
def books(order: str) -> str:
    return call(Payments.book, order)


def test_outside_of_workflows_they_are_plain_methods() -> None:
    payments = Payments(Bank("Nord"))
    assert payments.charge("1001") == "Nord charged 1 for 1001"
    assert Payments.charge(payments, "1001") == "Nord charged 1 for 1001"  # pyright: ignore
    assert (payments.rate("EUR"), Payments.brand("?")) == (3, "Payments?")  # pyright: ignore


@workflow
def calls_another_queue() -> str:
    return call(Payments.charge.options(task_queue="gpu"), "1001")


@workflow
def says_what_it_is_told() -> str:
    try:
        call(Payments.charge, "1001")
    except DefinitionError as error:
        return str(error)
    return "was called"


def asked_of_a_worker(code: AnyWorkflow, registry: Registry) -> BaseException | None:
    """What a workflow task fails with, on a worker that runs what the registry has."""
    machine = WorkflowMachine(code, Converter(), namespace="default", task_queue="default", finds=registry.activity)
    return machine.process(History(code).task().since()).error


def test_a_method_without_an_object_is_refused_where_it_is_called() -> None:
    error = asked_of_a_worker(says_what_it_is_told, Registry())
    told = "Payments.charge is a method, and is run for an object: give the engine one, as in "
    assert isinstance(error, DefinitionError) and str(error) == told + "Engine(..., activities=[Payments(...)])"
    lines = traceback.extract_tb(error.__traceback__)
    assert "says_what_it_is_told" in [line.name for line in lines]
    assert asked_of_a_worker(says_what_it_is_told, Registry(activities=[Payments(Bank("Nord"))])) is None
    assert asked_of_a_worker(calls_another_queue, Registry()) is None, "other workers have their own objects"
    with pytest.raises(UnknownTypeError, match=r"'charge' is not registered .* Payments.charge is a method"):
        Registry(activities=[Payments.rate]).activity("charge")


def test_a_mock_stands_in_for_an_object() -> None:
    with TestEngine() as engine:
        engine.mock(Payments.refund, returns="mocked")
        engine.mock("charge", lambda order, cents=0: f"mocked {cents}")
        engine.mock(Payments.limit, returns=1)
        assert engine.run(buy_async, "1001") == "mocked"
        assert engine.run(buy, "1001")[:3] == ["mocked 5", "mocked 0", "mocked"]


def test_a_call_is_checked_by_the_methods_parameters_less_its_object() -> None:
    with TestEngine(activities=[Payments(Bank("Nord"))]) as engine:
        assert engine.run(misuses_a_method) == [
            "charge(): missing a required argument: 'order'; it takes: order, cents",
            "charge() has no parameter 'cent': write cents; the parameters are: order, cents",
        ]


@workflow
def misuses_a_method() -> list[str]:
    told: list[str] = []
    for kwargs in ({}, {"order": "1", "cent": 2}):
        try:
            call(Payments.charge, **kwargs)
        except TypeError as error:
            told.append(str(error))
    return told


def test_what_cannot_be_registered_says_what_to_write() -> None:
    both = [Payments(Bank("Nord")), Payments(Bank("Sud"))]
    refusals: list[tuple[Callable[[], Any], str]] = [
        (lambda: Engine("memory://", activities=[Payments]), r"activities=\[Payments\(...\)\]"),
        (lambda: Engine("memory://", activities=[Payments.charge]), r"activities=\[Payments\(...\)\]"),
        (lambda: Engine("memory://", activities=both), "two activities are named"),
        (lambda: Engine("memory://", activities=[Bank("Nord")]), "is not decorated with @activity"),
        (lambda: Engine("memory://", activities=[len]), "'len' is not decorated with @activity"),
        (lambda: activity(Payments.charge), "is a method, and is run for an object"),
        (lambda: activity(Payments.limit), "limit is an activity already"),
        (lambda: activity("charge"), r"not a text: to name it, write @activity\(name='charge'\)"),  # pyright: ignore
        (lambda: activity(Payments), "Payments is a class: decorate its methods"),
        (lambda: activity(lambda: 1), r"a lambda has no name that history could keep: write @activity\(name=...\)"),
        (lambda: activity(functools.partial(lambda: 1)), "a lambda has no name"),
        (lambda: activity(dict[str, int]().update), "Python does not tell what update takes: write a function"),
        (lambda: activity(3), "@activity takes a function, not 3"),  # pyright: ignore
        (lambda: activity(run_in="process")(Payments(Bank("Nord")).bank.__init__), "has an object with it"),
        (lambda: activity(Gen()), "is a generator"),
    ]
    for misuse, told in refusals:
        with pytest.raises(DefinitionError, match=told):
            misuse()


class Gen:
    def __call__(self) -> Any:
        yield 1


def test_a_method_in_another_process_is_refused_at_its_line() -> None:
    with pytest.raises(DefinitionError, match="crunch has an object with it: another process cannot import that"):

        class Sums:
            @activity(run_in="process")
            def crunch(self) -> None: ...


def test_classmethod_stands_below_activity() -> None:
    error = asked_of_a_worker(calls_the_wrong_way_round, Registry())
    assert str(error).endswith("is a method whose class does not know it: write @activity above @classmethod")


class Upside:
    @classmethod
    @activity
    def down(cls, x: int) -> int:
        return x


@workflow
def calls_the_wrong_way_round() -> int:
    return call(Upside.down, 1)


class Adds:
    def __init__(self, to: int) -> None:
        self.to = to

    def __call__(self, number: int) -> int:
        return self.to + number

    def twice(self, number: int) -> int:
        return 2 * number + self.to


class AsyncAdds(Adds):
    async def __call__(self, number: int) -> int:
        return self.to + number


def two(first: int, second: int) -> int:
    return 10 * first + second


CALLABLES: list[ActivityDefinition[Any, Any]] = [
    activity(functools.partial(two, 3)),
    activity(name="two-second")(functools.partial(two, second=4)),
    activity(name="adds-five")(Adds(5)),
    activity(AsyncAdds(6)),
    activity(Adds(7).twice),
    activity(name="lambda")(lambda number: number + 8),
    activity(math.sqrt),
    activity(abs),
]


@workflow
def calls_anything() -> list[Any]:
    return [call(definition, 4) for definition in CALLABLES]


def test_whatever_can_be_called_can_be_an_activity() -> None:
    assert [definition.name for definition in CALLABLES] == [
        "two", "two-second", "adds-five", "AsyncAdds", "twice", "lambda", "sqrt", "abs",
    ]  # fmt: skip
    with TestEngine() as engine:
        assert engine.run(calls_anything) == [34, 44, 9, 10, 15, 12, 2.0, 4]


def test_the_module_of_the_activities_may_be_named() -> None:
    module = types.ModuleType("tasks")
    vars(module).update(charge=CALLABLES[0], adds=CALLABLES[2], again=CALLABLES[2], other=3)
    registry = Registry(activities=[module, Payments(Bank("Nord"))])
    assert registry.activity("adds-five") is CALLABLES[2]
    assert registry.activity("charge").fn("1") == "Nord charged 1 for 1"


def test_a_method_registered_for_the_whole_process_may_have_another_name() -> None:
    there = default_registry.activities
    default_registry.activities = there.empty()
    try:
        nord = activity(name="charge-nord")(Payments(Bank("Nord")).charge)
        sud = activity(Payments(Bank("Sud")).charge)
        again = activity(Payments(Bank("Ost")).charge)
        assert (nord.name, sud.name) == ("charge-nord", "charge")
        assert default_registry.activity("charge-nord").fn("1") == "Nord charged 1 for 1"
        assert default_registry.activity("charge") is again, "the latest is meant, as of a function"
    finally:
        default_registry.activities = there


def test_a_name_that_a_method_has_too_is_still_the_functions() -> None:
    there = default_registry.activities
    default_registry.activities = there.empty()
    try:
        send = activity(name="send")(two)
        mail: dict[str, Any] = {"__name__": "mail", "activity": activity}
        exec("class Mail:\n  @activity\n  def send(this, number): ...", mail)  # not everybody calls it self
        assert mail["Mail"].send.owner is mail["Mail"]
        assert default_registry.activity("send") is send
    finally:
        default_registry.activities = there


# --- workflows and handlers ---------------------------------------------------------------------------


def test_what_cannot_be_a_workflow_says_what_to_write() -> None:
    refusals: list[tuple[Callable[[], Any], str]] = [
        (lambda: workflow(Adds(1)), "has an object with it, which no history remembers"),
        (lambda: workflow(Adds(1).twice), "has an object with it, which no history remembers"),
        (lambda: workflow(len), "len is not written in Python"),
        (lambda: workflow(lambda: 1), r"a lambda has no name that history could keep: write @workflow\(name=...\)"),
        (lambda: workflow("order"), "not a text"),  # pyright: ignore
        (lambda: workflow(3), "@workflow takes a function, not 3"),  # pyright: ignore
        (lambda: workflow(Adds.twice), "twice is a method: decorate the class with @workflow"),
    ]
    for misuse, told in refusals:
        with pytest.raises(DefinitionError, match=told):
            misuse()
    assert workflow(functools.partial(two, 1)).bind((2,), {}) == (2,)


@pytest.mark.parametrize("decorator", [workflow.signal, workflow.query, workflow.update])
@pytest.mark.parametrize("wrapper", [staticmethod, classmethod, property])
def test_a_handler_is_a_plain_method(decorator: Any, wrapper: Any) -> None:
    def go(self: Any) -> None: ...

    with pytest.raises(DefinitionError, match=f"stands above a plain method, and not above @{wrapper.__name__}"):
        decorator(wrapper(go))
    with pytest.raises(DefinitionError, match=f"Order.go is a plain method of the workflow: take @{wrapper.__name__}"):
        _order(go=wrapper(decorator(go)))


def _order(**members: Any) -> Any:
    def run(self: Any) -> None: ...

    cls = type("Order", (), {"run": workflow.run(run), **members})
    cls.__qualname__ = "Order"
    return workflow(cls)


def test_handlers_that_cannot_be() -> None:
    def nothing() -> None: ...
    def go(self: Any) -> None: ...
    def by_name(self: Any, *, item: str) -> None: ...
    def yields(self: Any) -> Any:
        yield 1

    refusals: list[tuple[Callable[[], Any], str]] = [
        (lambda: workflow.signal(nothing), "messages of a signal: it must take self"),
        (lambda: workflow.signal(dynamic=True)(go), "messages of a signal: it must take self and the name"),
        (lambda: workflow.update(by_name), "has a parameter that is given by name"),
        (lambda: workflow.query(yields), "is a generator: called, it would do nothing"),
        (lambda: workflow.query(workflow.signal(lambda_named("a"))), "one decorator of the workflow already"),
        (lambda: workflow.run(workflow.signal(lambda_named("b"))), "one decorator of the workflow already"),
        (lambda: workflow.signal("go"), r"not a text: to name it, write @workflow.signal\(name='go'\)"),  # pyright: ignore
        (lambda: workflow.signal(lambda self: None), "a lambda has no name that clients could use"),
        (lambda: workflow.signal(int), "takes a method, not <class 'int'>"),
    ]
    for misuse, told in refusals:
        with pytest.raises(DefinitionError, match=told):
            misuse()


def lambda_named(name: str) -> Any:
    def method(self: Any) -> None: ...

    method.__name__ = name
    return method


@workflow
def registers_anything() -> list[Any]:
    seen: list[Any] = []
    adds = Adds(1)
    workflow.on_signal("append", seen.append)
    workflow.on_signal("partial", functools.partial(seen.insert, 0))
    workflow.on_signal("bound", lambda number: seen.append(adds.twice(number)))
    workflow.on_query("object", adds)
    workflow.on_update("bound", adds.twice)
    workflow.wait_condition(lambda: len(seen) == 3)
    return seen


def test_whatever_can_be_called_can_handle_a_message() -> None:
    with TestEngine() as engine:
        run = engine.start(registers_anything)
        run.signal("append", 2)
        run.signal("bound", 3)
        assert (run.query("object", 4), run.update("bound", 5)) == (5, 11)
        run.signal("partial", 1)
        assert run.result() == [1, 2, 7]


def test_a_failing_activity_of_an_object_is_told_by_its_name() -> None:
    class Bad:
        @activity
        def fails(self) -> None:
            raise ValueError("no")

    @workflow
    def calls() -> None:
        call(Bad.fails.options(schedule_to_close_timeout="1s"))

    with TestEngine(activities=[Bad()], workflows=[calls]) as engine, pytest.raises(WorkflowFailedError) as caught:
        engine.run(calls)
    assert isinstance(caught.value.__cause__, ActivityError) and caught.value.__cause__.activity_type == "fails"
