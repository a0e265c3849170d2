"""Fixtures for pytest, found by it when perdure is installed.

def test_it(perdure_engine):
    with perdure_engine.mock("charge_card", returns="receipt"):
        assert perdure_engine.run(fulfil, order, id="order-1") == "done"
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from perdure.testing.engine import TestEngine


@pytest.fixture
def make_perdure_engine() -> Generator[Callable[..., TestEngine]]:
    """Makes open `TestEngine`s from the arguments of their constructor, and closes them when the test ends."""
    from perdure.testing.engine import TestEngine  # only tests that ask for an engine pay for importing it

    with ExitStack() as stack:

        def make(*args: Any, **options: Any) -> TestEngine:
            return stack.enter_context(TestEngine(*args, **options))

        yield make


@pytest.fixture
def perdure_engine(make_perdure_engine: Callable[..., TestEngine]) -> TestEngine:
    """An open `TestEngine` that runs everything decorated, on a store in memory."""
    return make_perdure_engine()
