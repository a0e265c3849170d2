"""Plays about what commands say to people: summaries and details."""

from __future__ import annotations

from collections.abc import Callable

from tests.core import given
from tests.core.stage import Stage


def commands_with_something_to_read(stage: Stage) -> None:
    stage.start()
    stage.complete_task(
        stage.workflow_task(),
        given.told(given.schedule()),
        given.told(given.timer("a", 60)),
        given.told(given.marker()),
        given.told(given.upsert_memo()),
        given.told(given.upsert_search_attributes()),
    )
    stage.cancel()
    stage.complete_task(
        stage.workflow_task(),
        given.told(given.cancel_timer("a")),
        given.told(given.cancel_activity(5)),
        given.told(given.complete()),
    )


def failed_with_something_to_read(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.told(given.fail()))


def canceled_with_something_to_read(stage: Stage) -> None:
    stage.start()
    stage.cancel()
    stage.complete_task(stage.workflow_task(), given.told(given.cancel()))


def continued_with_something_to_read(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.told(given.continue_as_new()))
    stage.complete_task(stage.workflow_task(), given.complete())


SUMMARY_SCENARIOS: dict[str, Callable[[Stage], None]] = {
    name: value for name, value in list(globals().items()) if getattr(value, "__annotations__", {}).get("stage")
}
