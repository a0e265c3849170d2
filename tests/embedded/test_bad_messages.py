"""Messages that do not fit: each fails by itself, and the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
from temporalio.api.common.v1 import Payload

from perdure import Engine, PayloadCodec, QueryFailedError, UpdateFailedError, workflow
from perdure.testing import TestEngine, WorkflowTaskFailedError


@dataclass
class Payment:
    card: str
    cents: int


@workflow
class Order:
    def __init__(self) -> None:
        self.paid = 0
        self.closed = False

    @workflow.run
    def run(self) -> int:
        workflow.wait_condition(lambda: self.closed)
        return self.paid

    @workflow.signal
    def pay(self, payment: Payment) -> None:
        self.paid += payment.cents

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def state(self, factor: int = 1) -> int:
        return self.paid * factor

    @workflow.update
    def refund(self, cents: int) -> int:
        self.paid -= cents
        return self.paid


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "perdure.worker" and r.levelno == level]


BAD: list[tuple[tuple[object, ...], str]] = [
    (("webhook body",), f"the arguments of signal pay [0] (payment) does not decode to {__name__}.Payment"),
    (({"card": "visa"},), "Object missing required field `cents`"),
    ((), "its handler takes payment, and was given none"),
    ((Payment("visa", 1), "and more"), "its handler takes payment, and was given 2 arguments"),
    ((b"\x00\xff",), f"[0] is bytes, and not {__name__}.Payment"),
    ((None,), f"[0] is null, and not {__name__}.Payment"),
]


@pytest.mark.parametrize(("args", "told"), BAD)
def test_a_bad_signal_fails_its_own_handling_alone(
    args: tuple[object, ...], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with TestEngine() as engine:
        order = engine.start(Order, id="order-1")
        order.signal("pay", *args)
        order.signal("pay", Payment("visa", 5))
        assert order.query("state") == 5
        assert order.update("refund", 2) == 3
        assert engine.get("order-1").describe().workflow_task_attempt <= 1
        order.signal("close")
        assert order.result() == 3
    (line,) = said(caplog, logging.ERROR)
    assert "Order 'order-1'" in line and "the signal 'pay' does not fit, and is dropped: " in line and told in line


def test_bad_arguments_of_updates_and_queries_are_their_senders_fault() -> None:
    with TestEngine() as engine:
        order = engine.start(Order, id="order-1")
        for args in (("much",), (), (1, 2), (None,), (b"1",)):
            with pytest.raises(UpdateFailedError, match="refund"):
                order.update("refund", *args)
        for args in (("much",), (1, 2), (None,)):
            with pytest.raises(QueryFailedError, match="state"):
                order.query("state", *args)
        order.signal("pay", Payment("visa", 5))
        assert (order.query("state", 2), order.update("refund", 1)) == (10, 4)


def test_a_slip_in_a_signals_name_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with TestEngine() as engine:
        order = engine.start(Order, id="order-1")
        for _ in range(3):
            order.signal("pya", Payment("visa", 5))
        assert order.query("state") == 0
        order.signal("close")
        order.result()
    (line,) = said(caplog, logging.WARNING)
    assert "nobody takes the signal 'pya': it is kept, the code takes close, pay; did the sender mean 'pay'?" in line


class Vault(PayloadCodec):
    """A codec whose key service is away once."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked = 0

    def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(metadata={"encoding": b"vault"}, data=payload.SerializeToString()) for payload in payloads]

    def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self.is_away:
            self.asked += 1
            self.is_away = self.asked < 2
            raise ConnectionError("the key service is away")
        return [Payload.FromString(payload.data) for payload in payloads]


@pytest.mark.parametrize("closes_by", ["signal", "wait_signal"])
def test_a_signal_is_not_dropped_because_a_codec_is_away(closes_by: str, caplog: pytest.LogCaptureFixture) -> None:
    vault = Vault()
    with Engine("memory://", codec=vault) as engine:
        order = engine.start(Order if closes_by == "signal" else waits_for_a_payment, id="order-1")
        engine.get("order-1").query("__stack_trace")
        vault.is_away = True
        order.signal("pay", Payment("visa", 5))
        order.signal("close")
        assert order.result(timeout="60s") == 5
    assert vault.asked == 2
    assert said(caplog, logging.ERROR) == []


@workflow
def waits_for_a_payment() -> int:
    payment = workflow.wait_signal("pay", returns=Payment)
    workflow.wait_signal("close")
    return payment.cents


@workflow
def typed(order: str, cents: int) -> int:
    return cents


def test_an_argument_of_another_type_is_told_by_its_name_and_both_types_without_our_own_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with TestEngine() as engine, pytest.raises(WorkflowTaskFailedError) as failed:
        engine.run(cast(Any, typed), "a", "abc", id="order-1")
    wanted = (
        "PayloadError: the arguments of workflow typed [1] (cents) does not decode to int: Expected `int`, got `str`"
    )
    assert said(caplog, logging.WARNING)[0].endswith(wanted), (
        "neither a traceback nor a place: both would be of this package"
    )
    assert wanted in str(failed.value)
