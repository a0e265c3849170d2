"""The chain: what every call passes, from wherever it comes, and what it is told on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from temporalio.api.command.v1 import Command
from temporalio.api.enums.v1 import CommandType
from temporalio.api.operatorservice import v1 as operator
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.core.limits import Limits
from perdure.core.principal import Principal
from perdure.engine import Engine
from perdure.engine.matching.query_task import QueryToken
from perdure.frontend import WorkflowService
from perdure.frontend.calls import Call, Origin, Proceed
from perdure.frontend.chain import Chain
from perdure.frontend.operator_service import OperatorService
from perdure.frontend.rpcs import OPERATOR_SERVICE, WORKFLOW_SERVICE, method_name, rpcs
from perdure.stores.api import Namespace
from tests.engine.test_transactor import Work, started
from tests.engine.world import (
    World,
    activity_poll,
    completion,
    describe_request,
    history_request,
    start_request,
    virtual,
    virtual_logged,
    workflow_poll,
)
from tests.frontend.given import Witness

FOREIGN = "Operation requested with a token from a different namespace."


def behind(engine: Engine, *interceptors: Any) -> WorkflowService:
    return WorkflowService(engine, Chain(engine, interceptors))


async def refused(answer: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await answer
    return caught.value


def test_every_rpc_that_is_served_is_behind_the_chain_under_its_own_name() -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            witness = Witness()
            chain = Chain(engine, (witness,))
            objects = {
                WORKFLOW_SERVICE: WorkflowService(engine, chain),
                OPERATOR_SERVICE: OperatorService(engine, chain),
            }
            served = [rpc for rpc in rpcs(objects) if rpc.handler is not None]
            assert len(served) > 70
            for rpc in served:
                handler: Any = rpc.handler
                assert handler.__name__ == rpc.name
                assert handler.__module__ == "perdure.frontend.chain", method_name(rpc.name)

    scenario()


@virtual
async def test_interceptors_are_asked_in_order_and_see_the_answer_on_the_way_back(world: World) -> None:
    said: list[str] = []

    def named(name: str) -> Any:
        async def intercept(call: Call, request: Any, proceed: Proceed) -> Any:
            said.append(f"{name} before {call.rpc}")
            answer = await proceed(call, request)
            said.append(f"{name} after {type(answer).__name__}")
            return answer

        return intercept

    async with world.engine() as engine:
        await behind(engine, named("audit"), named("quota")).get_system_info(service.GetSystemInfoRequest())
    assert said == [
        "audit before GetSystemInfo",
        "quota before GetSystemInfo",
        "quota after GetSystemInfoResponse",
        "audit after GetSystemInfoResponse",
    ]


@virtual
async def test_a_call_in_this_process_says_where_it_comes_from_and_what_it_is_held_to(world: World) -> None:
    witness = Witness()
    async with world.engine(limits=Limits(id_length=9)) as engine:
        await behind(engine, witness).start_workflow_execution(start_request())
    (call,) = witness.calls
    assert (call.rpc, call.origin, call.principal) == ("StartWorkflowExecution", Origin.NEAR, Principal())
    assert (call.namespace, call.namespaces, call.deadline) == ("default", ("default",), None)
    assert call.limits.id_length == 9


@virtual
async def test_what_an_interceptor_refuses_is_not_done_and_not_told(world: World) -> None:
    async with world.engine() as engine:
        connection = behind(engine, Witness("StartWorkflowExecution"))
        for request in (start_request(), service.StartWorkflowExecutionRequest(namespace="unknown")):
            refusal = await refused(connection.start_workflow_execution(request))
            assert refusal.code is StatusCode.PERMISSION_DENIED, "not whether the namespace is there"
        assert (await refused(connection.describe_workflow_execution(describe_request()))).code is StatusCode.NOT_FOUND


@virtual
async def test_what_is_not_well_formed_is_refused_before_anybody_is_asked(world: World) -> None:
    witness = Witness()
    request = start_request()
    request.priority.priority_key = -1
    async with world.engine() as engine:
        connection = behind(engine, witness)
        assert "priority key" in (await refused(connection.start_workflow_execution(request))).message
        nowhere = service.StartWorkflowExecutionRequest(workflow_id="order-1")
        assert (await refused(connection.start_workflow_execution(nowhere))).message == "Namespace is empty."
    assert not witness.calls


@pytest.mark.parametrize("interceptors", [(), (Witness(),)], ids=["bare", "intercepted"])
def test_a_refusal_comes_when_it_is_awaited(interceptors: Any) -> None:
    @virtual
    async def scenario(world: World) -> None:
        async with world.engine() as engine:
            asked = behind(engine, *interceptors).start_workflow_execution(start_request(namespace="unknown"))
            assert (await refused(asked)).code is StatusCode.NOT_FOUND

    def start_request(namespace: str) -> service.StartWorkflowExecutionRequest:
        return service.StartWorkflowExecutionRequest(namespace=namespace)

    scenario()


# --- namespaces -----------------------------------------------------------------------------------


@virtual
async def test_a_token_says_the_namespace_of_a_request_that_names_none(world: World) -> None:
    witness = Witness("RespondWorkflowTaskCompleted")
    async with world.engine() as engine:
        connection = behind(engine, witness)
        await connection.start_workflow_execution(start_request())
        token = (await connection.poll_workflow_task_queue(workflow_poll())).task_token
        nameless = service.RespondWorkflowTaskCompletedRequest(task_token=token)
        assert (
            await refused(connection.respond_workflow_task_completed(nameless))
        ).code is StatusCode.PERMISSION_DENIED
        (call,) = witness.of("RespondWorkflowTaskCompleted")
        assert (call.namespace, call.namespaces) == ("default", ("default",))
        witness.refused.clear()
        await connection.respond_workflow_task_completed(nameless)


@virtual
async def test_a_token_of_another_namespace_is_refused_in_the_words_of_temporals_server(world: World) -> None:
    """Read off `temporal server start-dev`: a namespace that is not there is told first."""
    async with world.engine() as engine:
        await engine.namespaces.add(Namespace("shop", "shop-id", 86_400 * 10**9))
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        question = service.QueryWorkflowRequest(namespace="default", query=WorkflowQuery(query_type="state"))
        question.execution.workflow_id = "order-1"
        await connection.respond_workflow_task_completed(completion(task.task_token))
        asking = asyncio.ensure_future(connection.query_workflow(question))
        query = await connection.poll_workflow_task_queue(workflow_poll())
        assert query.query.query_type == "state"
        answers: list[tuple[Any, Any, bytes]] = [
            (connection.respond_workflow_task_completed, service.RespondWorkflowTaskCompletedRequest, task.task_token),
            (connection.respond_workflow_task_failed, service.RespondWorkflowTaskFailedRequest, task.task_token),
            (connection.respond_activity_task_completed, service.RespondActivityTaskCompletedRequest, task.task_token),
            (connection.record_activity_task_heartbeat, service.RecordActivityTaskHeartbeatRequest, task.task_token),
            (connection.respond_query_task_completed, service.RespondQueryTaskCompletedRequest, query.task_token),
        ]
        for answer, kind, token in answers:
            refusal = await refused(answer(kind(namespace="shop", task_token=token)))
            assert (refusal.code, refusal.message) == (StatusCode.INVALID_ARGUMENT, FOREIGN), kind
            refusal = await refused(answer(kind(namespace="nowhere", task_token=token)))
            assert refusal.message == "Namespace nowhere is not found.", kind
            refusal = await refused(answer(kind(namespace="default")))
            assert refusal.message == "Task token not set on request.", kind
        answered = service.RespondQueryTaskCompletedRequest(task_token=query.task_token, completed_type=1)  # pyright: ignore
        await connection.respond_query_task_completed(answered)
        await asking


@virtual
async def test_an_interceptor_is_told_in_which_namespaces_commands_reach(world: World) -> None:
    witness = Witness()
    child = Command(command_type=CommandType.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION)
    child.start_child_workflow_execution_command_attributes.namespace = "shop"
    async with world.engine() as engine:
        connection = behind(engine, witness)
        await connection.start_workflow_execution(start_request())
        task = await connection.poll_workflow_task_queue(workflow_poll())
        witness.refused.add("RespondWorkflowTaskCompleted")
        await refused(connection.respond_workflow_task_completed(completion(task.task_token, child)))
        (call,) = witness.of("RespondWorkflowTaskCompleted")
        assert call.namespaces == ("default", "shop")


@virtual
async def test_a_namespace_that_is_asked_for_by_its_id_is_told_by_its_name(world: World) -> None:
    witness = Witness()
    async with world.engine() as engine:
        await engine.namespaces.add(Namespace("shop", "shop-id", 86_400 * 10**9))
        chain = Chain(engine, (witness,))
        connection, operators = WorkflowService(engine, chain), OperatorService(engine, chain)
        await connection.describe_namespace(service.DescribeNamespaceRequest(id="shop-id"))
        await refused(connection.describe_namespace(service.DescribeNamespaceRequest(id="another")))
        await operators.delete_namespace(operator.DeleteNamespaceRequest(namespace_id="shop-id"))
    assert [call.namespace for call in witness.calls] == ["shop", "", "shop"]


@virtual
async def test_what_is_asked_in_one_namespace_is_not_answered_from_another(world: World) -> None:
    """Neither by a token that was made up, nor along with a workflow task of one's own."""
    async with world.engine() as engine:
        await engine.namespaces.add(Namespace("shop", "shop-id", 86_400 * 10**9))
        connection = WorkflowService(engine)
        tasks: dict[str, Any] = {}
        for namespace in ("default", "shop"):
            start, poll = start_request(), workflow_poll()
            start.namespace = poll.namespace = namespace
            await connection.start_workflow_execution(start)
            tasks[namespace] = await connection.poll_workflow_task_queue(poll)
        question = service.QueryWorkflowRequest(namespace="default", query=WorkflowQuery(query_type="state"))
        question.execution.workflow_id = "order-1"
        asking = asyncio.ensure_future(connection.query_workflow(question))
        await asyncio.sleep(1)
        (query_id,) = engine.queries.waiting[tasks["default"].workflow_execution.run_id]
        made_up = msgspec.msgpack.encode(QueryToken("shop", query_id))
        forged = service.RespondQueryTaskCompletedRequest(namespace="shop", task_token=made_up, completed_type=1)  # pyright: ignore
        assert (await refused(connection.respond_query_task_completed(forged))).code is StatusCode.NOT_FOUND
        done = completion(tasks["shop"].task_token)
        done.namespace = "shop"
        done.query_results[query_id].result_type = 1  # pyright: ignore
        await connection.respond_workflow_task_completed(done)
        await asyncio.sleep(1)
        assert not asking.done()
        await connection.respond_workflow_task_completed(completion(tasks["default"].task_token))
        alone = await connection.poll_workflow_task_queue(workflow_poll())
        own = service.RespondQueryTaskCompletedRequest(task_token=alone.task_token, completed_type=1)  # pyright: ignore
        await connection.respond_query_task_completed(own)
        assert not (await asking).HasField("query_rejected")


@virtual
async def test_a_worker_that_shuts_down_ends_no_polls_of_another_namespace(world: World) -> None:
    async with world.engine() as engine:
        await engine.namespaces.add(Namespace("shop", "shop-id", 86_400 * 10**9))
        connection = WorkflowService(engine)
        poll = workflow_poll()
        poll.worker_instance_key = "worker-1"
        polling = asyncio.ensure_future(connection.poll_workflow_task_queue(poll))
        await asyncio.sleep(1)
        shutdown = service.ShutdownWorkerRequest(namespace="shop", worker_instance_key="worker-1")
        await connection.shutdown_worker(shutdown)
        await connection.start_workflow_execution(start_request())
        assert (await polling).task_token
        again = asyncio.ensure_future(connection.poll_workflow_task_queue(poll))
        await asyncio.sleep(1)
        assert not again.done()
        shutdown.namespace = "default"
        await connection.shutdown_worker(shutdown)
        assert not (await again).task_token


@virtual
async def test_a_page_token_of_another_namespace_leads_nowhere(world: World) -> None:
    async with world.engine() as engine:
        await engine.namespaces.add(Namespace("shop", "shop-id", 86_400 * 10**9))
        connection = WorkflowService(engine)
        await connection.start_workflow_execution(start_request())
        request = history_request(maximum_page_size=1)
        request.next_page_token = (await connection.get_workflow_execution_history(request)).next_page_token
        assert request.next_page_token
        request.namespace = "shop"
        assert (await refused(connection.get_workflow_execution_history(request))).code is StatusCode.NOT_FOUND


# --- what is near alone ---------------------------------------------------------------------------


@virtual
async def test_a_completion_in_a_transaction_passes_the_chain(world: World) -> None:
    witness = Witness()
    async with world.engine() as engine:
        connection = behind(engine, witness)
        request = await started(connection)
        request.namespace = ""
        witness.refused.add("RespondActivityTaskCompleted")
        work = Work(request)
        refusal = await refused(connection.complete_activity_in_transaction(request, work))
        assert (refusal.code, work.runs) == (StatusCode.PERMISSION_DENIED, 0)
        witness.refused.clear()
        assert await connection.complete_activity_in_transaction(request, work) is True
        assert [call.namespace for call in witness.of("RespondActivityTaskCompleted")] == ["default", "default"]


@virtual
async def test_the_result_of_a_transaction_is_held_to_the_engines_own_limit(world: World) -> None:
    """Also in the store's thread, where the limits of the call were not known once."""
    async with world.engine(limits=Limits(blob_bytes=1000)) as engine:
        connection = WorkflowService(engine)
        request = await started(connection)
        refusal = await refused(connection.complete_activity_in_transaction(request, Work(request, b"x" * 2000)))
        assert refusal.message == "Complete result exceeds size limit."


@virtual
async def test_seats_are_taken_through_the_chain(world: World) -> None:
    witness = Witness()
    async with world.engine() as engine:
        connection = behind(engine, witness)
        taken: list[Any] = []
        leave = connection.serve_workflow_tasks(workflow_poll(), 1, lambda task, free: taken.append(task))
        await connection.start_workflow_execution(start_request())
        await asyncio.sleep(1)
        assert [task.workflow_execution.workflow_id for task in taken] == ["order-1"]
        assert [call.namespace for call in witness.of("PollWorkflowTaskQueue")] == ["default"]
        leave()


@virtual_logged
async def test_who_may_not_poll_gets_no_seat(world: World, log: pytest.LogCaptureFixture) -> None:
    async with world.engine() as engine:
        connection = behind(engine, Witness("PollActivityTaskQueue"))
        leave = connection.serve_activity_tasks(activity_poll(), 1, lambda task, free: None)
        await asyncio.sleep(1)
        assert not list(engine.matching.waiting_polls())
        assert "is not polled: Request unauthorized." in log.text
        leave()


@virtual
async def test_who_has_left_before_being_let_in_gets_no_seat(world: World) -> None:
    gate = asyncio.Event()

    async def slow(call: Call, request: Any, proceed: Proceed) -> Any:
        await gate.wait()
        return await proceed(call, request)

    async with world.engine() as engine:
        leave = behind(engine, slow).serve_workflow_tasks(workflow_poll(), 1, lambda task, free: None)
        leave()
        gate.set()
        await asyncio.sleep(1)
        assert not list(engine.matching.waiting_polls())


@virtual
async def test_a_worker_in_this_process_that_names_no_namespace_is_told_at_once(world: World) -> None:
    async with world.engine() as engine:
        with pytest.raises(Rejected, match="Namespace is empty"):
            WorkflowService(engine).serve_workflow_tasks(
                service.PollWorkflowTaskQueueRequest(), 1, lambda task, free: None
            )
