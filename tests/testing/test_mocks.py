"""Activities are replaced by name: typed as the real ones, whether or not those exist."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from perdure import ApplicationError, Saga, WorkflowFailedError, activity, call, workflow
from perdure.interventions import Intervention
from perdure.testing import TestEngine
from tests.testing.shop import ACTIVITIES, WORKFLOWS, Order, charge, fulfil, subscribe

ORDER = Order("1001", 4200)


@workflow(name="testing.gives_up")
def gives_up(order: Order) -> None:
    with Saga() as saga:
        saga.compensate(charge, order)
        raise ApplicationError("undo it")


def test_a_mock_gets_what_the_real_one_would(engine: TestEngine) -> None:
    mock = engine.mock(charge, lambda order: f"receipt {order.id} over {order.cents}")
    assert engine.run(subscribe, ORDER, 1, id="w") == ["receipt 1001 over 4200"]
    assert mock.calls == [(ORDER,)]


def test_a_mocks_own_annotations_come_first(engine: TestEngine) -> None:
    @dataclass
    class Slip:
        id: str

    def paid(order: Slip) -> str:
        return f"{type(order).__name__} {order.id}"

    paid.__annotations__["order"] = Slip
    engine.mock(charge, paid)
    assert engine.run(subscribe, ORDER, 1, id="w") == ["Slip 1001"]


def test_mocks_may_be_coroutines_or_of_the_standard_library(engine: TestEngine) -> None:
    async def paid(order: Order) -> str:
        return "paid by coroutine"

    shipping = AsyncMock(return_value="shipped")
    engine.mock("shop.charge", paid)
    engine.mock("shop.ship", shipping)
    assert engine.run(fulfil, ORDER, id="w") == "paid by coroutine, shipped"
    shipping.assert_awaited_once_with(ORDER, True)
    charging = Mock(side_effect=[ConnectionError("first"), "second time"])
    engine.mock("shop.charge", charging)
    assert engine.run(subscribe, ORDER, 1, id="again") == ["second time"]
    assert charging.call_count == 2


def test_the_real_one_is_back_after_the_block(engine: TestEngine) -> None:
    engine.mock("shop.charge", returns="outer")
    with engine.mock("shop.charge", returns="inner") as mock:
        assert engine.run(subscribe, ORDER, 1, id="a") == ["inner"]
    mock.restore()
    assert engine.run(subscribe, ORDER, 1, id="b") == ["outer"]
    assert repr(mock) == "<ActivityMock shop.charge: 1 calls>"


def test_without_a_mock_the_real_one_runs(engine: TestEngine) -> None:
    with pytest.raises(WorkflowFailedError, match="a test must not charge anybody"):
        engine.run(subscribe, ORDER, 1, id="w")


def test_an_activity_of_other_workers_needs_a_mock_alone() -> None:
    @activity(name="testing.elsewhere", task_queue="default")
    def elsewhere(n: int) -> Any: ...

    @workflow(name="testing.asks_elsewhere")
    def asks_elsewhere(n: int) -> Any:
        return call(elsewhere, n)

    with TestEngine(workflows=[*WORKFLOWS, asks_elsewhere], activities=ACTIVITIES) as engine:
        engine.mock("testing.elsewhere", lambda n: {"doubled": n * 2})
        assert engine.run(asks_elsewhere, 21, id="w") == {"doubled": 42}


def test_none_is_a_result_like_any_other(engine: TestEngine) -> None:
    engine.mock("shop.charge", returns=None)
    engine.mock("shop.ship", returns="shipped")
    assert engine.run(fulfil, ORDER, id="w") == "None, shipped"


@pytest.mark.parametrize("given", [{}, {"returns": 1, "raises": OSError()}, {"fn": len, "returns": 1}])
def test_a_mock_does_exactly_one_thing(engine: TestEngine, given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"one of: a function, returns=\.\.\., raises=\.\.\."):
        engine.mock("shop.charge", **given)


def test_a_callable_without_a_signature_will_do(engine: TestEngine) -> None:
    engine.mock("shop.charge", str)
    [receipt] = engine.run(subscribe, ORDER, 1, id="w")
    assert receipt == str(ORDER)


def test_the_engines_own_alert_is_mocked_by_name_like_any_other() -> None:
    pager: list[Intervention] = []
    with TestEngine(workflows=[gives_up], activities=ACTIVITIES) as engine:
        engine.mock("perdure.alert", pager.append)
        engine.mock(charge, raises=ApplicationError("the bank is closed for good", non_retryable=True))
        engine.start(gives_up, ORDER, id="w")
        assert pager == engine.interventions.list()
        assert [entry.step for entry in pager] == [charge.name]
