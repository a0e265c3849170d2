"""Every transition of the SDK's tables is taken by some history, and docs/replay.md shows the tables as they are."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from perdure.sdk.replay import activity, child, local_activity, marker, timer, update
from perdure.sdk.replay.machine import WorkflowMachine
from perdure.sdk.workflow.workflow import start, workflow
from tests.sdk.replay import orders, scenes, stored, test_children, test_updates
from tests.sdk.replay.given import CONVERTER, History
from tests.sdk.replay.pieces import a, b

PAGE = Path(__file__).parents[3] / "docs" / "replay.md"
TABLES: list[tuple[Any, str]] = [
    (activity, "ACTIVITY_TRANSITIONS"),
    (timer, "TIMER_TRANSITIONS"),
    (marker, "MARKER_TRANSITIONS"),
    (child, "CHILD_TRANSITIONS"),
    (child, "EXTERNAL_TRANSITIONS"),
    (update, "UPDATE_TRANSITIONS"),
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


def letters() -> None:
    """Children, other workflows and updates: by the plays of their own tests."""
    test_children.test_a_child_is_started_once_and_its_result_handed_back(test_children.parent)
    test_children.test_a_child_that_could_not_be_started_is_an_error(
        None, "WorkflowAlreadyStarted: workflow id 'kid-1' is taken"
    )
    test_children.test_a_child_is_cancelled_as_the_call_says("abandon", ['complete "CancelledError"'])
    test_children.test_another_workflow_is_signalled_and_cancelled(test_children.meddles)
    test_children.test_another_workflow_that_is_not_there_is_an_error(test_children.meddles)
    test_updates.test_an_update_is_accepted_and_answered_in_the_same_task()
    test_updates.test_an_update_that_waits_is_answered_later_and_replays()
    test_updates.test_a_rejection_is_a_message_and_no_command()
    test_updates.test_updates_of_an_async_workflow_run_beside_each_other()


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
    letters()
    for name, table in watched.items():
        assert set(table) - table.taken == set(), name
        assert table.taken - set(table) == set(), name
