"""Every history of a hub, and of its neighbours, that any release of ours has written replays, for ever."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from perdure.events import EventHub
from perdure.testing import assert_replays
from tests.histories import hub

STORED = sorted(hub.FOLDER.glob("*/hub/*.json"))


@pytest.mark.parametrize("file", STORED, ids=[f"{file.parent.parent.name}-{file.stem}" for file in STORED])
def test_a_stored_history_replays(file: Path) -> None:
    assert_replays(file, [EventHub, *hub.WORKFLOWS])


def test_this_version_has_stored_each() -> None:
    assert {file.stem for file in STORED if file.parent.parent.name == version("perdure")} == set(hub.record())


def test_a_hub_that_serves_nobody_has_ended() -> None:
    assert "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED" in hub.record()["hub"]
