"""Options of a run that change while it goes."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import Priority
from temporalio.api.workflow.v1 import OnConflictOptions, VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionOptionsRequest

from perdure.api import enums
from perdure.api.errors import StatusCode
from perdure.core import commands as law
from perdure.core import options
from tests.core.given import World, names, refused

UPGRADE = VersioningOverride(auto_upgrade=True)


def update(world: World, *paths: str, **fields: Any) -> WorkflowExecutionOptions:
    request = UpdateWorkflowExecutionOptionsRequest(
        workflow_execution_options=WorkflowExecutionOptions(**fields),
        update_mask=FieldMask(paths=paths),
        identity="client",
    )
    return world.ask(law.UpdateOptions(request))


def test_what_the_mask_names_is_changed_and_the_rest_stays() -> None:
    world = World()
    world.start()
    update(world, "priority", priority=Priority(priority_key=1, fairness_key="ada"))
    answer = update(world, "priority.priority_key", "versioning_override", priority=Priority(priority_key=4),
                    versioning_override=UPGRADE)  # fmt: skip
    assert answer == WorkflowExecutionOptions(
        priority=Priority(priority_key=4, fairness_key="ada"), versioning_override=UPGRADE
    )
    assert options.standing(world.run) == answer
    assert names(world.history)[2:] == ["WorkflowExecutionOptionsUpdated"] * 2


def test_an_override_is_taken_back_by_naming_and_not_giving_it() -> None:
    world = World()
    world.start()
    update(world, "versioning_override", versioning_override=UPGRADE)
    assert not update(world, "versioning_override").HasField("versioning_override")
    assert world.run.versioning_override is None


def test_a_change_that_changes_nothing_leaves_no_event() -> None:
    world = World()
    world.start()
    update(world, "versioning_override", versioning_override=UPGRADE)
    before = list(world.history)
    update(world, "versioning_override", versioning_override=UPGRADE)
    update(world)
    assert world.history == before


def test_a_change_waits_behind_a_running_task() -> None:
    world = World()
    world.start()
    task = world.workflow_task()
    update(world, "priority", priority=Priority(priority_key=1))
    assert names(world.history)[-1] == "WorkflowTaskStarted"
    world.complete_task(task)
    assert "WorkflowExecutionOptionsUpdated" in names(world.history)


def test_an_unknown_path_and_a_version_that_nobody_deployed_are_refused() -> None:
    world = World()
    world.start()
    assert refused(lambda: update(world, "unheard")).code == StatusCode.INVALID_ARGUMENT
    pinned = VersioningOverride()
    pinned.pinned.version.build_id = "1"
    held = refused(lambda: update(world, "versioning_override", versioning_override=pinned))
    assert held.code == StatusCode.FAILED_PRECONDITION


def test_a_closed_run_has_no_options_to_change() -> None:
    world = World()
    world.start()
    world.terminate()
    assert refused(lambda: update(world, "priority")).code == StatusCode.NOT_FOUND


def test_a_start_that_finds_the_workflow_running_makes_itself_known_once() -> None:
    world = World()
    world.start()
    again = {
        "request_id": "another",
        "workflow_id_conflict_policy": enums.CONFLICT_USE_EXISTING,
        "on_conflict_options": OnConflictOptions(attach_request_id=True),
    }
    answers = [world.start(**again) for _ in range(2)]
    assert [(answer.created, answer.is_attached) for answer in answers] == [(False, True)] * 2
    assert names(world.history)[2:] == ["WorkflowExecutionOptionsUpdated"]
    assert world.run.attached == {"another": 3}
