"""The cycle collector looks less often while an engine is open, and as before afterwards."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from perdure.engine.node import collector


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """As if no engine had been opened, or abandoned, in this process."""
    monkeypatch.setattr(collector, "_open_engines", 0)
    monkeypatch.setattr(collector, "_before", None)
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_it_looks_less_often_until_the_last_engine_is_closed() -> None:
    collector.relax()
    collector.relax()
    assert gc.get_threshold() == (collector.YOUNGEST, 10, 10)
    collector.restore()
    assert gc.get_threshold() == (collector.YOUNGEST, 10, 10)
    collector.restore()
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("youngest", [0, 50_000])
def test_a_program_that_has_set_it_itself_is_left_alone(youngest: int) -> None:
    gc.set_threshold(youngest, 10, 10)
    collector.relax()
    assert gc.get_threshold()[0] == youngest
    collector.restore()
    assert gc.get_threshold()[0] == youngest


def test_what_the_program_sets_meanwhile_stays() -> None:
    collector.relax()
    gc.set_threshold(1_000, 10, 10)
    collector.restore()
    assert gc.get_threshold()[0] == 1_000
