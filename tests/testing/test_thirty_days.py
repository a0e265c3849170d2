"""The example that sleeps for thirty days, whole, in the time of a unit test."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perdure.testing import TestEngine

EXAMPLES = Path(__file__).parents[2] / "examples"
CUSTOMERS = 100


def test_a_hundred_customers_are_asked_after_thirty_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    scene: Any = importlib.import_module("scene07_durable_timers")
    with TestEngine(workflows=[scene.subscription], activities=[scene.mail]) as engine:
        mails = engine.mock(scene.mail, lambda customer, text: f"{text} {customer}?")
        handles = [engine.start(scene.subscription, f"customer {n}", id=f"subscription-{n}") for n in range(CUSTOMERS)]
        engine.advance("29 days 23 hours")
        assert len(mails.calls) == CUSTOMERS
        engine.advance("1 hour")
        assert len(mails.calls) == 2 * CUSTOMERS
        assert handles[7].result() == "How do you like your lamp, customer 7?"
        assert engine.now() == datetime(2025, 1, 31, tzinfo=UTC)
