"""Memo and search attributes: what the run began with, merged with every change; nothing takes an entry out."""

from __future__ import annotations

from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import CommandType

from tests.core import given
from tests.core.given import World, in_first_task

NOTHING = Payload(metadata={"encoding": b"binary/null"})


def upsert_memo(**fields: Payload) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_MODIFY_WORKFLOW_PROPERTIES)
    for name, payload in fields.items():
        command.modify_workflow_properties_command_attributes.upserted_memo.fields[name].CopyFrom(payload)
    return command


def memo(world: World) -> dict[str, bytes]:
    return {name: Payload.FromString(data).data for name, data in world.run.memo.items()}


def test_a_memo_is_merged_with_what_the_run_began_with() -> None:
    world, task = in_first_task(memo=given.memo("old"))
    world.complete_task(task, upsert_memo(added=Payload(data=b"1")), force_create_new_workflow_task=True)
    assert memo(world) == {"note": b"old", "added": b"1"}
    world.complete_task(world.workflow_task(), upsert_memo(note=NOTHING, added=Payload(data=b"2")))
    assert memo(world) == {"added": b"2"}


def test_a_search_attribute_is_remembered() -> None:
    world = given.after(given.upsert_search_attributes())
    assert Payload.FromString(world.run.search_attributes["CustomKeywordField"]).data == b'"blue"'


def test_the_next_run_begins_with_what_it_was_given() -> None:
    world, task = in_first_task(memo=given.memo("old"))
    world.complete_task(task, given.continue_as_new(memo=given.memo("new")))
    assert memo(world) == {"note": b"new"}
