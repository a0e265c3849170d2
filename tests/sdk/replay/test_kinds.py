"""Each kind of thing registers what history says to it, so no table names them all; but none may be forgotten."""

from __future__ import annotations

import ast
from pathlib import Path

from temporalio.api.enums.v1 import EventType

from perdure.sdk.replay import machine
from perdure.sdk.replay.entry import COMMAND_EVENTS
from perdure.sdk.replay.events import READERS

ROOM = Path(machine.__file__).parent
REGISTRARS = {"reads", "names", "names_marker"}


def registers(path: Path) -> bool:
    """Whether a file registers a reader, words, or (by deriving from one) a kind of entry."""
    tree = ast.parse(path.read_text())
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assigned = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return bool(called & REGISTRARS) or "event_types" in assigned


def test_the_machine_knows_every_kind_that_registers() -> None:
    registering = {path.stem for path in ROOM.glob("*.py") if registers(path)}
    kinds = {kind.__name__.rpartition(".")[2] for kind in machine.KINDS}
    assert registering == kinds


def test_no_event_is_both_matched_and_read() -> None:
    assert not COMMAND_EVENTS & READERS.keys()


THE_WALK = {"WORKFLOW_EXECUTION_STARTED"} | {
    f"WORKFLOW_TASK_{step}" for step in ("SCHEDULED", "STARTED", "COMPLETED", "TIMED_OUT", "FAILED")
}
"""Read by the machine itself, or passed over by it: where the code runs, and where it did not get that far."""

TOLD_TO_NOBODY = {
    "ACTIVITY_TASK_STARTED",
    "WORKFLOW_EXECUTION_TIMED_OUT",
    "WORKFLOW_EXECUTION_TERMINATED",
    "WORKFLOW_EXECUTION_PAUSED",
    "WORKFLOW_EXECUTION_UNPAUSED",
    "WORKFLOW_EXECUTION_OPTIONS_UPDATED",
    "WORKFLOW_EXECUTION_UPDATE_REJECTED",
    "WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED",
    "WORKFLOW_PROPERTIES_MODIFIED_EXTERNALLY",
    "ACTIVITY_PROPERTIES_MODIFIED_EXTERNALLY",
}

NEXUS = {
    f"NEXUS_OPERATION_{step}"
    for step in ("STARTED", "COMPLETED", "FAILED", "CANCELED", "TIMED_OUT", "CANCEL_REQUEST_COMPLETED")
} | {"NEXUS_OPERATION_CANCEL_REQUEST_FAILED"}
"""Code of this SDK cannot ask for an operation, so none of its can end."""


def test_every_event_has_a_meaning_here_or_says_nothing_to_code() -> None:
    """A new event of Temporal's API is decided on: read, matched, or told to nobody."""
    known = COMMAND_EVENTS | READERS.keys() | {0}
    unread = {name.removeprefix("EVENT_TYPE_") for name, number in EventType.items() if number not in known}
    assert unread == THE_WALK | TOLD_TO_NOBODY | NEXUS
