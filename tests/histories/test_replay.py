"""Every history that any release of ours has written replays, for ever."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from perdure.sdk.replay.checking import ReplayChecker, workflows_in
from perdure.testing import assert_replays, parse_history
from tests.histories import workflows
from tests.histories.record import FOLDER, record

STORED = sorted(FOLDER.glob("*/*.json"))


@pytest.mark.parametrize("file", STORED, ids=[f"{file.parent.name}-{file.stem}" for file in STORED])
def test_a_stored_history_replays(file: Path) -> None:
    assert_replays(file, workflows)


@pytest.mark.parametrize("file", STORED, ids=[f"{file.parent.name}-{file.stem}" for file in STORED])
def test_and_would_not_under_other_code(file: Path) -> None:
    """The check itself can fail: the code of another workflow does not replay it."""
    events = parse_history(file.read_bytes())
    started = events[0].workflow_execution_started_event_attributes
    other = "stored.fails" if started.workflow_type.name != "stored.fails" else "stored.order"
    started.workflow_type.name = other
    assert ReplayChecker(workflows).check(events) is not None


def test_this_version_has_stored_the_history_of_every_workflow() -> None:
    wanted = {definition.name.removeprefix("stored.") for definition in workflows_in(workflows)}
    assert {file.stem for file in STORED if file.parent.name == version("perdure")} == wanted


def test_the_recorder_writes_what_replays() -> None:
    for definition in workflows_in(workflows):
        assert_replays(record(definition.name), workflows)
