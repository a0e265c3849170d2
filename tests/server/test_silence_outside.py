"""What the store says is for whoever runs the server: a client is told that there is trouble, and no path."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.stores.api import StoreError
from tests.engine.world import history_request, start_request
from tests.server.given import CODE, World, served

SECRET = "The disk is full: the store /srv/secret/orders.db could not write."


def in_trouble(world: World, error: Exception) -> None:
    """From now on the store does nothing but fail."""

    async def fails(*_: Any) -> Any:
        raise error

    store: Any = world.engine.store
    for name in ("commit", "load", "history", "find", "put_namespace", "record", "put_records"):
        if hasattr(store, name):
            setattr(store, name, fails)


@pytest.mark.parametrize(
    ("error", "code"), [(StoreError(SECRET), CODE.UNAVAILABLE), (RuntimeError(SECRET), CODE.INTERNAL)]
)
def test_a_client_is_told_of_trouble_and_the_log_of_its_reason(
    error: Exception, code: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @served
    async def scenario(world: World) -> None:
        await world.client.call("StartWorkflowExecution", start_request("before"))
        in_trouble(world, error)
        description = service.UpdateNamespaceRequest(namespace="default")
        description.update_info.description = "x"
        schedule = service.DescribeScheduleRequest(namespace="default", schedule_id="s")
        for name, request in (
            ("StartWorkflowExecution", start_request()),
            ("GetWorkflowExecutionHistory", history_request("nobody")),
            ("UpdateNamespace", description),
            ("DescribeSchedule", schedule),
        ):
            refused = await world.client.refusal(name, request)
            told = f"{refused.details()} {refused.trailing_metadata()}"
            assert "secret" not in told, (name, told)
            if name == "StartWorkflowExecution":
                assert (refused.code(), "server's log says why" in told) == (code, True), told

    with caplog.at_level(logging.WARNING):
        scenario()
    assert SECRET in caplog.text


@served
async def test_an_operation_of_several_says_no_more(world: World) -> None:
    in_trouble(world, StoreError(SECRET))
    request = service.ExecuteMultiOperationRequest(namespace="default")
    request.operations.add().start_workflow.CopyFrom(start_request())
    request.operations[0].start_workflow.workflow_id_conflict_policy = 2  # pyright: ignore[reportAttributeAccessIssue]
    update = request.operations.add().update_workflow
    update.namespace = "default"
    update.workflow_execution.workflow_id = "order-1"
    update.request.meta.update_id = "u"
    update.request.input.name = "n"
    refused = await world.client.refusal("ExecuteMultiOperation", request)
    assert "secret" not in f"{refused.details()} {refused.trailing_metadata()}"


def test_a_refusal_says_outside_what_it_says_unless_it_is_told_otherwise() -> None:
    assert Rejected(StatusCode.NOT_FOUND, "gone").outside == "gone"
    told = Rejected(StatusCode.UNAVAILABLE, SECRET, outside="trouble")
    assert (told.message, str(told), told.outside) == (SECRET, SECRET, "trouble")
