"""Custom search attributes: registered, checked wherever they are set, and found by, at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import CommandType, EventType, WorkflowTaskFailedCause
from temporalio.api.operatorservice import v1 as operator
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.engine import Engine
from perdure.frontend import WorkflowService
from perdure.frontend.operator_service import OperatorService
from tests.engine.world import World, completion, describe_request, history, start_request, virtual, workflow_poll
from tests.frontend.test_visibility import listed, refusal

TYPES: dict[str, Any] = {"Text": 1, "Keyword": 2, "Int": 3, "Double": 4, "Bool": 5, "Datetime": 6, "List": 7}


def payload(data: bytes, encoding: bytes = b"json/plain") -> Payload:
    return Payload(metadata={"encoding": encoding}, data=data)


async def register(engine: Engine, **types: Any) -> None:
    request = operator.AddSearchAttributesRequest(namespace="default", search_attributes=types)
    await OperatorService(engine).add_search_attributes(request)


def start_with(workflow_id: str = "order-1", **values: bytes) -> service.StartWorkflowExecutionRequest:
    request = start_request(workflow_id)
    for name, data in values.items():
        request.search_attributes.indexed_fields[name].CopyFrom(payload(data))
    return request


@virtual
async def test_what_was_registered_is_known_at_once_and_after_a_restart(world: World) -> None:
    async with world.engine() as engine:
        await register(engine, **TYPES)
    async with world.engine() as engine:
        request = operator.ListSearchAttributesRequest(namespace="default")
        known = await OperatorService(engine).list_search_attributes(request)
        assert dict(known.custom_attributes) == TYPES
        assert known.system_attributes["WorkflowId"] == 2
        assert known.system_attributes["BuildIds"] == 7
        everywhere = await WorkflowService(engine).get_search_attributes(service.GetSearchAttributesRequest())
        assert everywhere.keys["Datetime"] == 6
        assert everywhere.keys["StartTime"] == 6


@virtual
async def test_what_cannot_be_registered_is_refused_in_temporals_words(world: World) -> None:
    async with world.engine() as engine:
        service_ = OperatorService(engine)

        async def added(namespace: str = "default", **types: Any) -> str:
            request = operator.AddSearchAttributesRequest(namespace=namespace, search_attributes=types)
            return (await refusal(service_.add_search_attributes(request))).message

        assert await added(WorkflowId=2) == "Search attribute WorkflowId is reserved by system."
        assert await added(BuildIds=2) == "Search attribute BuildIds is reserved by system."
        assert await added(TemporalFoo=2) == "Search attribute TemporalFoo is reserved by system."
        assert await added() == "SearchAttributes are not set on request."
        assert await added(X=99) == "Unknown search attribute type: 99."
        assert await added(X=0) == (
            "Unable to create search attributes: cannot have more than 0 search attribute of type Unspecified."
        )
        assert await added("", X=2) == "Namespace is not set on request."
        assert await added("nowhere", X=2) == "Namespace nowhere is not found."
        many: dict[str, Any] = {f"X{number}": 2 for number in range(201)}
        assert "more than 200" in await added(**many)


@virtual
async def test_one_that_is_removed_is_unknown_and_keeps_its_values(world: World) -> None:
    async with world.engine() as engine:
        connection, service_ = WorkflowService(engine), OperatorService(engine)
        await register(engine, Keyword=2)
        await register(engine, Keyword=3)
        await connection.start_workflow_execution(start_with(Keyword=b'"red"'))
        request = operator.RemoveSearchAttributesRequest(namespace="default", search_attributes=["Keyword", "Nope"])
        await service_.remove_search_attributes(request)
        refused = await refusal(listed(connection, "Keyword = 'red'"))
        assert refused.message == "invalid query: invalid search attribute: Keyword"
        await register(engine, Keyword=3)
        assert await listed(connection, "Keyword > 0") == [], "what was written as a keyword is no number"
        await service_.remove_search_attributes(request)
        await register(engine, Keyword=2)
        assert await listed(connection, "Keyword = 'red'") == ["order-1"]
        request.search_attributes[:] = ["BuildIds", "WorkflowId"]
        refused = await refusal(service_.remove_search_attributes(request))
        assert refused.message == "Unable to remove non-custom search attributes: BuildIds, WorkflowId."


@virtual
async def test_they_are_found_by_from_the_start(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await register(engine, **TYPES)
        await connection.start_workflow_execution(
            start_with(
                Text=b'"Quick brown fox"',
                Keyword=b'"red"',
                Int=b"5",
                Double=b"1.5",
                Bool=b"true",
                Datetime=b'"2026-01-02T03:04:05Z"',
                List=b'["a","b"]',
                TemporalScheduledById=b'"nightly"',
            )
        )
        await connection.start_workflow_execution(start_request("order-2"))
        for query in (
            "Text = 'FOX'",
            "Keyword STARTS_WITH 're'",
            "Int BETWEEN 4 AND 6",
            "Double > 1",
            "Bool = true",
            "Datetime = '2026-01-02T04:04:05+01:00'",
            "List = 'b'",
            "TemporalScheduledById = 'nightly'",
        ):
            assert await listed(connection, query) == ["order-1"], query
            assert await listed(connection, f"NOT {query}") == (["order-2"] if query[:4] in ("Text", "List") else [])
        described = await connection.describe_workflow_execution(describe_request())
        red = described.workflow_execution_info.search_attributes.indexed_fields["Keyword"]
        assert (red.data, red.metadata["type"]) == (b'"red"', b"Keyword")


BAD: list[tuple[str, bytes, str]] = [
    ("Nope", b'"x"', "Namespace default has no mapping defined for search attribute Nope"),
    ("WorkflowId", b'"x"', "WorkflowId attribute can't be set in SearchAttributes"),
    ("Int", b'"x"', "invalid value for search attribute Int of type Int: x"),
    ("Int", b"1.5", "invalid value for search attribute Int of type Int: 1.5"),
    ("Int", b"true", "invalid value for search attribute Int of type Int: true"),
    ("Int", b"[5,6]", "invalid value for search attribute Int of type Int: [5 6]"),
    ("Keyword", b"5", "invalid value for search attribute Keyword of type Keyword: 5"),
    ("Keyword", b'["a","b"]', "invalid value for search attribute Keyword of type Keyword: [a b]"),
    ("List", b'"a"', "invalid value for search attribute List of type KeywordList: a"),
    ("List", b"[1]", "invalid value for search attribute List of type KeywordList: [1]"),
    ("Bool", b'"true"', "invalid value for search attribute Bool of type Bool: true"),
    ("Datetime", b'"yesterday"', "invalid value for search attribute Datetime of type Datetime: yesterday"),
    ("Double", b'"5"', "invalid value for search attribute Double of type Double: 5"),
    ("Text", b"5", "invalid value for search attribute Text of type Text: 5"),
    ("Keyword", b'"' + b"x" * 3000 + b'"', "search attribute Keyword value size 3002 exceeds size limit 2048"),
]
"""What the real server says to each."""


@virtual
async def test_what_cannot_be_set_refuses_the_start_in_temporals_words(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await register(engine, **TYPES)
        for name, data, why in BAD:
            refused = await refusal(connection.start_workflow_execution(start_with("order-1", **{name: data})))
            assert (refused.code, refused.message) == (StatusCode.INVALID_ARGUMENT, why)
        refused = await refusal(connection.start_workflow_execution(start_with(Keyword=b"{x")))
        assert refused.message.startswith("invalid value for search attribute Keyword of type Keyword: value from")
        request = start_request()
        request.search_attributes.indexed_fields["Keyword"].CopyFrom(payload(b'"x"', b"binary/plain"))
        refused = await refusal(connection.start_workflow_execution(request))
        assert refused.message == "invalid value for search attribute Keyword of type Keyword: [34 120 34]"
        refused = await refusal(connection.start_workflow_execution(start_with(Double=b"1" + b"0" * 400)))
        assert refused.code is StatusCode.INVALID_ARGUMENT, "no number with a point is so large"
        assert await listed(connection) == []


@virtual
async def test_a_single_value_in_a_list_and_nothing_at_all_are_taken(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await register(engine, **TYPES)
        await connection.start_workflow_execution(start_with(Int=b"[5]", Double=b"5", Keyword=b"null", List=b"[]"))
        assert await listed(connection, "Int = 5 AND Double = 5 AND Keyword IS NULL AND List IS NULL") == ["order-1"]


def upsert(**values: bytes) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    attributes = command.upsert_workflow_search_attributes_command_attributes.search_attributes
    for name, data in values.items():
        attributes.indexed_fields[name].CopyFrom(payload(data))
    return command


async def answer(connection: WorkflowService, *commands: Command) -> None:
    """Take the workflow task, answer with these commands, and have another one."""
    task = await connection.poll_workflow_task_queue(workflow_poll())
    request = completion(task.task_token, *commands)
    request.force_create_new_workflow_task = True
    await connection.respond_workflow_task_completed(request)


@virtual
async def test_an_upsert_is_found_by_what_it_says_now(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await register(engine, **TYPES)
        await connection.start_workflow_execution(start_with(Keyword=b'"red"', Int=b"1"))
        await answer(connection, upsert(Keyword=b'"blue"', List=b'["a","a","b"]'))
        assert await listed(connection, "Keyword = 'red'") == []
        assert await listed(connection, "Keyword = 'blue' AND Int = 1 AND List = 'b'") == ["order-1"]
        await answer(connection, upsert(Keyword=b"null", Int=b"null", List=b"[]"))
        assert await listed(connection, "Keyword IS NULL AND Int IS NULL AND List IS NULL") == ["order-1"]
        assert await listed(connection, "List = 'b'") == []
        event = (await history(connection))[4]
        assert event.event_type == EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
        said = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields["List"]
        assert said.metadata["type"] == b"KeywordList"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (upsert(), "BadSearchAttributes: IndexedFields is not set on UpsertWorkflowSearchAttributesCommand."),
        (
            upsert(Nope=b'"x"'),
            "BadSearchAttributes: Namespace default has no mapping defined for search attribute Nope",
        ),
        (upsert(Int=b'"x"'), "BadSearchAttributes: invalid value for search attribute Int of type Int: x"),
        (upsert(RunId=b'"x"'), "BadSearchAttributes: RunId attribute can't be set in SearchAttributes"),
    ],
)
def test_an_upsert_that_cannot_be_fails_the_workflow_task(command: Command, why: str) -> None:
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            connection = WorkflowService(engine)
            await register(engine, **TYPES)
            await connection.start_workflow_execution(start_request())
            with pytest.raises(Rejected) as refused:
                await answer(connection, command)
            assert (refused.value.code, refused.value.message) == (StatusCode.INVALID_ARGUMENT, why)
            failed = (await history(connection))[-1].workflow_task_failed_event_attributes
            assert failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES

    virtual(scenario)()


@virtual
async def test_children_and_the_next_run_are_held_to_the_same(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await register(engine, **TYPES)
        child = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
        attributes = child.start_child_workflow_execution_command_attributes
        attributes.workflow_id, attributes.workflow_type.name = "child", "ship"
        following = Command(command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION)
        next_attributes = following.continue_as_new_workflow_execution_command_attributes
        for command, fields in (
            (child, attributes.search_attributes.indexed_fields),
            (following, next_attributes.search_attributes.indexed_fields),
        ):
            await connection.start_workflow_execution(start_request(f"bad-{command.command_type}"))
            fields["Keyword"].CopyFrom(payload(b"5"))
            with pytest.raises(Rejected, match="BadSearchAttributes: invalid value for search attribute Keyword"):
                await answer(connection, command)
            fields["Keyword"].CopyFrom(payload(b'"red"'))
            await connection.terminate_workflow_execution(_terminate(f"bad-{command.command_type}"))
        await connection.start_workflow_execution(start_request("parent"))
        await answer(connection, child)
        await asyncio.sleep(1)
        query = "ParentWorkflowId = 'parent' AND RootWorkflowId = 'parent' AND Keyword = 'red'"
        assert await listed(connection, query) == ["child"]
        assert await listed(connection, "RootWorkflowId = 'parent' AND ParentWorkflowId IS NULL") == ["parent"]


def _terminate(workflow_id: str) -> service.TerminateWorkflowExecutionRequest:
    request = service.TerminateWorkflowExecutionRequest(namespace="default")
    request.workflow_execution.workflow_id = workflow_id
    return request
