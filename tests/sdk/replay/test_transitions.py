"""Every transition of the SDK's tables is taken by some history, and docs/replay.md shows the tables as they are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from perdure.sdk.replay import activity, local_activity, marker, timer
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.workflow import start, workflow
from tests.sdk.replay import orders, scenes, stored
from tests.sdk.replay.given import CONVERTER, History
from tests.sdk.replay.pieces import a, b

PAGE = Path(__file__).parents[3] / "docs" / "replay.md"
TABLES: list[tuple[Any, str]] = [
    (activity, "ACTIVITY_TRANSITIONS"),
    (timer, "TIMER_TRANSITIONS"),
    (marker, "MARKER_TRANSITIONS"),
]


def diagram(table: dict[tuple[StrEnum, StrEnum], StrEnum]) -> str:
    """A table as a Mermaid diagram."""
    first = next(iter(table))[0]
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.value}"]
    lines += [f"    {state.value} --> {after.value}: {trigger.value}" for (state, trigger), after in table.items()]
    ends = dict.fromkeys(after for after in table.values() if all(state is not after for state, _ in table))
    lines += [f"    {end.value} --> [*]" for end in ends]
    return "\n".join([*lines, "```"]) + "\n"


SHOWN = [*TABLES, (local_activity, "LOCAL_ACTIVITY_TRANSITIONS")]
"""The transitions of local activities are taken in `test_local_activities.py`."""


@pytest.mark.parametrize(("module", "name"), SHOWN, ids=[name for _, name in SHOWN])
def test_the_page_shows_the_table(module: Any, name: str) -> None:
    assert diagram(getattr(module, name)) in PAGE.read_text(encoding="utf-8")


class Watched(dict[Any, Any]):
    """A table that notes what it was asked."""

    def __init__(self, table: dict[Any, Any]) -> None:
        super().__init__(table)
        self.taken: set[Any] = set()

    def __getitem__(self, key: Any) -> Any:
        self.taken.add(key)
        return super().__getitem__(key)


@workflow
def gives_up() -> str:
    """Starts, cancels, waits."""
    start(a).cancel()
    handle = start(b.options(cancellation="wait"))
    workflow.sleep(1)
    handle.cancel()
    workflow.timer(60).cancel()
    return handle.result()


def test_every_transition_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = {name: Watched(getattr(module, name)) for module, name in TABLES}
    for module, name in TABLES:
        monkeypatch.setattr(module, name, watched[name])
    for name in stored.NAMES:
        code = getattr(orders, name, None) or getattr(scenes, name)
        machine = WorkflowMachine(code, CONVERTER, namespace="default", task_queue="q")
        machine.process(stored.task_of(stored.load(name)))
        machine.close()
    for ending in ("completed", "failed", "timed_out", "cancelled"):
        history = History(gives_up).task().done().scheduled("b", "2").timer().fired("1").task()
        getattr(history.done().cancel_asked("2"), ending)("2")
        history.task().cold()
        history = History(gives_up).task().done().scheduled("b", "2").timer()
        getattr(history, ending)("2")
        history.task().cold()
    for name, table in watched.items():
        assert set(table) - table.taken == set(), name
        assert table.taken - set(table) == set(), name
