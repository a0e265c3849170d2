"""Tokens that nobody was given: whatever is sent as one is bad input, in every RPC that takes one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.names import ExecutionKey, TaskKind
from perdure.core.tokens import TaskToken, encode_token
from perdure.frontend import WorkflowService
from perdure.frontend.operator_service import OperatorService
from perdure.frontend.page_tokens import HistoryToken, encode_history
from perdure.frontend.rpcs import OPERATOR_SERVICE, WORKFLOW_SERVICE, Rpc, rpcs
from tests.badinput import corpus
from tests.engine.world import World, history_request, start_request, virtual

NO_TEXT = (b"\xff\xfe", b"\x93\xa1\xff\x01\x01", b"\xdd\xff\xff\xff\xff")
"""No token of any kind: not even a name."""


def request_for(rpc: Rpc, field: str, token: bytes) -> Any:
    request: Any = rpc.request()
    fields = rpc.request.DESCRIPTOR.fields_by_name
    if "namespace" in fields:
        request.namespace = "default"
    for name in ("execution", "workflow_execution"):
        if name in fields:
            getattr(request, name).workflow_id = "order-1"
    setattr(request, field, token)
    return request


def test_there_is_no_token_that_was_forgotten() -> None:
    """Of the RPCs that take one: so that the tests below are not about nothing."""

    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            found = {(rpc.name, field) for rpc, field in taking_tokens(engine)}
            assert len(found) == 19, sorted(found)

    scenario()


def taking_tokens(engine: Any) -> list[tuple[Rpc, str]]:
    objects = {WORKFLOW_SERVICE: WorkflowService(engine), OPERATOR_SERVICE: OperatorService(engine)}
    return [
        (rpc, field)
        for rpc in rpcs(objects)
        if rpc.handler is not None
        for field in ("next_page_token", "task_token")
        if field in rpc.request.DESCRIPTOR.fields_by_name
    ]


@pytest.mark.parametrize("token", NO_TEXT)
def test_bytes_that_are_no_token_are_refused_everywhere(token: bytes) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            await WorkflowService(engine).start_workflow_execution(start_request())
            for rpc, field in taking_tokens(engine):
                assert rpc.handler is not None
                with pytest.raises(Rejected) as refused:
                    await rpc.handler(request_for(rpc, field, token))
                assert refused.value.code is StatusCode.INVALID_ARGUMENT, (rpc.name, refused.value.message)

    scenario()


async def code_of(rpc: Rpc, request: Any) -> StatusCode:
    assert rpc.handler is not None
    try:
        await rpc.handler(request)
    except Rejected as refused:
        return refused.code
    return StatusCode.OK


def test_what_looks_like_a_token_is_refused_or_means_nothing() -> None:
    parts: list[list[Any]] = [["default", "order-1", "x"], [1], ["x"]]
    looks = [msgspec.msgpack.encode([head, part, part]) for head in parts for part in corpus.PARTS]
    passing = (StatusCode.OK, StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND)

    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            await WorkflowService(engine).start_workflow_execution(start_request())
            for rpc, field in taking_tokens(engine):
                for token in (*corpus.TOKENS, *looks):
                    code = await code_of(rpc, request_for(rpc, field, token))
                    assert code in passing, (rpc.name, token)

    scenario()


@virtual
async def test_a_number_in_a_token_fits_a_column(world: World) -> None:
    async with world.engine() as engine:
        rpcs = WorkflowService(engine)
        run_id = (await rpcs.start_workflow_execution(start_request())).run_id
        for number in (-1, 1 << 63, (1 << 64) - 1):
            page = encode_history(HistoryToken(run_id, number))
            with pytest.raises(Rejected, match="Invalid NextPageToken"):
                await rpcs.get_workflow_execution_history(history_request(run_id=run_id, next_page_token=page))
            token = encode_token(TaskToken(ExecutionKey("default", "order-1", run_id), TaskKind.ACTIVITY, number, 1))
            with pytest.raises(Rejected, match="Error deserializing task token"):
                await rpcs.respond_activity_task_completed(
                    service.RespondActivityTaskCompletedRequest(task_token=token)
                )


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (HistoryToken("RUN", 3, 1 << 40), "Invalid NextPageToken."),
        (HistoryToken("RUN", 2, 2, b"\xff"), "Invalid NextPageToken."),
        (HistoryToken("", 1 << 60, (1 << 60) + 1), "Invalid NextPageToken."),
        (HistoryToken("another", 1, 2), "workflow execution not found"),
    ],
)
def test_a_page_of_a_workers_history_is_one_of_the_run(token: HistoryToken, why: str) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            rpcs = WorkflowService(engine)
            run_id = (await rpcs.start_workflow_execution(start_request())).run_id
            mine = msgspec.structs.replace(token, run_id=run_id) if token.run_id == "RUN" else token
            with pytest.raises(Rejected) as refused:
                await rpcs.get_workflow_execution_history(history_request(next_page_token=encode_history(mine)))
            assert why in refused.value.message

    scenario()
