"""Plays about updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.core import given
from tests.core.stage import Stage


def quiet(stage: Stage, **fields: Any) -> None:
    """A run whose first workflow task is done."""
    stage.start(**fields)
    stage.complete_task(stage.workflow_task())


def done(stage: Stage, token: Any, update_id: str = "u1", **fields: Any) -> None:
    """Accept and answer an update."""
    accepted = given.accepted(stage.message(update_id))
    stage.complete_task(token, messages=[accepted, given.responded(update_id)], **fields)


def update_done(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    done(stage, stage.workflow_task())


def update_fails(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    token = stage.workflow_task()
    accepted = given.accepted(stage.message("u1"))
    stage.complete_task(token, messages=[accepted, given.responded("u1", failure="no way")])


def update_rejected(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.complete_task(stage.workflow_task(), messages=[given.rejected(stage.message("u1"))])
    stage.update("u2")
    done(stage, stage.workflow_task(), "u2")


def update_rejected_with_the_first_task(stage: Stage) -> None:
    stage.start()
    stage.update("u1")
    stage.complete_task(stage.workflow_task(), messages=[given.rejected(stage.message("u1"))])


def update_rejected_after_new_events(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), given.timer("a", 60))
    stage.update("u1")
    stage.complete_task(stage.workflow_task(), messages=[given.rejected(stage.message("u1"))])
    stage.terminate()


def update_not_processed(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.complete_task(stage.workflow_task())


def update_not_processed_yet(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.complete_task(stage.workflow_task(), force=True)
    done(stage, stage.workflow_task())


def update_in_two_tasks(stage: Stage) -> None:
    stage.start()
    stage.update("u1")
    token = stage.workflow_task()
    stage.complete_task(token, given.schedule(), messages=[given.accepted(stage.message("u1"))])
    stage.complete_activity(stage.activity_task())
    stage.complete_task(stage.workflow_task(), given.complete(), messages=[given.responded("u1")])


def update_comes_during_a_task(stage: Stage) -> None:
    stage.start()
    token = stage.workflow_task()
    stage.update("u1")
    stage.complete_task(token)
    done(stage, stage.workflow_task())


def event_comes_before_the_updates_task(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.cancel()
    stage.complete_task(stage.workflow_task(), messages=[given.rejected(stage.message("u1"))])


def event_comes_during_the_updates_task(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    token = stage.workflow_task()
    stage.cancel()
    stage.complete_task(token, messages=[given.rejected(stage.message("u1"))])
    stage.complete_task(stage.workflow_task(), given.cancel())


def updates_task_times_out(stage: Stage) -> None:
    quiet(stage, workflow_task_timeout=1.0)
    stage.update("u1")
    stage.workflow_task()
    stage.elapse(1)
    done(stage, stage.workflow_task())


def updates_task_fails(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.fail_task(stage.workflow_task())
    stage.complete_task(stage.workflow_task(), messages=[given.rejected(stage.message("u1"))])


def updates_task_keeps_failing(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.fail_task(stage.workflow_task())
    stage.fail_task(stage.workflow_task())
    stage.update("u2")
    stage.terminate()


def updates_task_fails_and_times_out(stage: Stage) -> None:
    quiet(stage, workflow_task_timeout=1.0)
    stage.update("u1")
    stage.fail_task(stage.workflow_task())
    stage.workflow_task()
    stage.elapse(1)
    done(stage, stage.workflow_task())


def updates_task_times_out_again_and_again(stage: Stage) -> None:
    quiet(stage, workflow_task_timeout=1.0)
    stage.update("u1")
    for _ in range(2):
        stage.workflow_task()
        stage.elapse(1)
    done(stage, stage.workflow_task())


def sticky_worker_goes_before_the_update(stage: Stage) -> None:
    stage.start()
    stage.complete_task(stage.workflow_task(), sticky=True)
    stage.update("u1")
    stage.elapse(1)
    done(stage, stage.workflow_task())


def closing_over_updates(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.update("u2")
    token = stage.workflow_task()
    stage.complete_task(token, given.complete(), messages=[given.accepted(stage.message("u1"))])


def closing_over_an_update_that_was_not_sent(stage: Stage) -> None:
    stage.start()
    token = stage.workflow_task()
    stage.update("u1")
    stage.complete_task(token, given.complete())


def continued_as_new_over_updates(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    token = stage.workflow_task()
    stage.complete_task(token, given.continue_as_new(), messages=[given.accepted(stage.message("u1"))])
    stage.complete_task(stage.workflow_task(), given.complete())


def terminated_during_the_updates_task(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.workflow_task()
    stage.terminate()


def terminated_before_the_updates_task(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.terminate()


def answer_to_an_unknown_update(stage: Stage) -> None:
    stage.start()
    stage.refused_task(stage.workflow_task(), messages=[given.responded("u1")])
    stage.terminate()


def command_without_its_message(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.refused_task(stage.workflow_task(), given.protocol_message("nowhere"))
    stage.terminate()


def update_answered_before_it_is_accepted(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    stage.refused_task(stage.workflow_task(), messages=[given.responded("u1")])
    stage.terminate()


def update_accepted_twice(stage: Stage) -> None:
    quiet(stage)
    stage.update("u1")
    token = stage.workflow_task()
    first, second = given.accepted(stage.message("u1")), given.accepted(stage.message("u1"))
    second.id = "second"
    stage.refused_task(token, messages=[first, second])
    stage.terminate()


UPDATE_SCENARIOS: dict[str, Callable[[Stage], None]] = {
    name: value
    for name, value in list(globals().items())
    if getattr(value, "__annotations__", {}).get("stage") and name not in ("quiet", "done")
}
