"""Namespaces, lists and counts, task queues, and what the server says of itself."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio import workflow
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig, UpdateNamespaceInfo
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, RemoveSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice import v1 as service
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from tests.differential.stage import Stage


@workflow.defn
class Ends:
    @workflow.run
    async def run(self, how: str) -> str:
        if how == "wait":
            await workflow.wait_condition(lambda: False)
        return how


async def _listed(stage: Stage, query: str, count: int) -> list[str]:
    async def look() -> list[Any]:
        return [found async for found in stage.client.list_workflows(query)]

    found = await stage.until(look, lambda found: len(found) == count)
    return sorted(f"{one.id} {one.status.name}" for one in found)


async def workflows_are_listed_and_counted(stage: Stage) -> Any:
    order_id = SearchAttributeKey.for_keyword("OrderId")
    attributes = TypedSearchAttributes([SearchAttributePair(order_id, stage.name("x"))])
    async with stage.worker([Ends]):
        for number in range(3):
            await stage.run(Ends.run, "end", id=f"done{number}", search_attributes=attributes)
        waiting = await stage.start(Ends.run, "wait", id="waiting", search_attributes=attributes)
        await stage.events(waiting, "WORKFLOW_TASK_COMPLETED")
        queue, own = f'TaskQueue = "{stage.task_queue}"', f'OrderId = "{stage.name("x")}"'
        answers: list[Any] = [
            await _listed(stage, queue, 4),
            await _listed(stage, own, 4),
            await _listed(stage, f"{own} AND ExecutionStatus = 'Running'", 1),
            await _listed(stage, f"{own} AND ExecutionStatus != 'Running'", 3),
            await _listed(stage, f"{own} AND WorkflowType = 'Ends' AND CloseTime IS NOT NULL", 3),
            await _listed(stage, f"{own} AND WorkflowId IN ('{stage.id('done0')}', '{stage.id('done1')}')", 2),
            await _listed(stage, f"{own} AND WorkflowId STARTS_WITH 'done'", 3),
            await _listed(stage, f"{own} AND (ExecutionStatus = 'Running' OR WorkflowId = '{stage.id('done2')}')", 2),
        ]
        count = await stage.client.count_workflows(own)
        groups = await stage.client.count_workflows(f"{own} GROUP BY ExecutionStatus")
        shown = sorted((str(group.group_values), group.count) for group in groups.groups)
        return [*answers, count.count, groups.count, shown]


async def bad_list_filters(stage: Stage) -> Any:
    queries = [
        "nonsense", "ExecutionStatus =", "Unheard = 1", "ExecutionStatus = 'Sleeping'", "WorkflowId = 7",
        "StartTime > 'yesterday'", "WorkflowId LIKE 'x'", "ORDER BY", "WorkflowId = 'a' GROUP BY WorkflowType",
    ]  # fmt: skip

    async def ask(query: str) -> Any:
        return [found.id async for found in stage.client.list_workflows(query)]

    return [[query, await stage.answer(ask(query))] for query in queries]


async def a_namespace_from_beginning_to_end(stage: Stage) -> Any:
    name = stage.name("ns")
    rpc = stage.rpc
    register = service.RegisterNamespaceRequest(
        namespace=name, description="of a test", owner_email="a@b.c",
        workflow_execution_retention_period=Duration(seconds=3 * 86_400), data={"k": "v"},
    )  # fmt: skip
    describe = service.DescribeNamespaceRequest(namespace=name)
    update = service.UpdateNamespaceRequest(
        namespace=name,
        update_info=UpdateNamespaceInfo(description="another", data={"k2": "v2"}),
        config=NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=5 * 86_400)),
    )
    answers: list[Any] = [
        await stage.answer(rpc.register_namespace(register)),
        await stage.answer(rpc.register_namespace(register)),
    ]
    described = await stage.until(
        lambda: stage.answer(rpc.describe_namespace(describe)), lambda a: not isinstance(a, str)
    )
    answers.append(_said(described))
    answers.append(_said(await stage.answer(rpc.update_namespace(update))))
    answers.append(_said(await stage.answer(rpc.describe_namespace(describe))))
    return answers


def _said(response: Any) -> Any:
    """Without what depends on the server's own set-up: capabilities, limits, clusters."""
    if isinstance(response, str):
        return response
    info, config = response.namespace_info, response.config
    return [
        info.name, info.state, info.description, info.owner_email, sorted(info.data.items()),
        str(config.workflow_execution_retention_ttl.ToSeconds()), response.is_global_namespace,
    ]  # fmt: skip


async def refused_namespaces(stage: Stage) -> Any:
    rpc, unknown = stage.rpc, stage.name("unknown")
    nameless = service.RegisterNamespaceRequest(workflow_execution_retention_period=Duration(seconds=86_400))
    return [
        await stage.answer(rpc.register_namespace(nameless)),
        await stage.answer(rpc.register_namespace(service.RegisterNamespaceRequest(namespace=stage.name("short")))),
        await stage.answer(rpc.describe_namespace(service.DescribeNamespaceRequest(namespace=unknown))),
        await stage.answer(rpc.describe_namespace(service.DescribeNamespaceRequest())),
        await stage.answer(rpc.update_namespace(service.UpdateNamespaceRequest(namespace=unknown))),
    ]


async def workflows_of_two_namespaces_do_not_meet(stage: Stage) -> Any:
    name = stage.name("ns")
    register = service.RegisterNamespaceRequest(
        namespace=name, workflow_execution_retention_period=Duration(seconds=86_400)
    )
    await stage.rpc.register_namespace(register)
    other = await Client.connect(
        stage.address, namespace=name, identity="client", runtime=stage.client.service_client.config.runtime
    )
    handle = await stage.start(Ends.run, "end")

    async def start() -> Any:
        return await other.start_workflow(Ends.run, "there", id=stage.id(), task_queue=stage.task_queue)

    there = await stage.until(lambda: stage.answer(start()), lambda answer: not isinstance(answer, str))
    async with stage.worker([Ends]), stage.worker([Ends], client=other):
        return [await stage.outcome(handle), await stage.outcome(there)]


async def search_attributes_come_and_go(stage: Stage) -> Any:
    operator = stage.client.operator_service
    name = "Colour" + stage.suffix
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    add = AddSearchAttributesRequest(namespace=stage.namespace, search_attributes={name: keyword})
    answers = [await stage.answer(operator.add_search_attributes(add))]
    remove = RemoveSearchAttributesRequest(namespace=stage.namespace, search_attributes=[name])
    answers.append(await stage.answer(operator.remove_search_attributes(remove)))
    unknown = RemoveSearchAttributesRequest(namespace=stage.namespace, search_attributes=["Unheard"])
    system = AddSearchAttributesRequest(namespace=stage.namespace, search_attributes={"WorkflowId": keyword})
    answers.append(await stage.answer(operator.remove_search_attributes(unknown)))
    answers.append(await stage.answer(operator.add_search_attributes(system)))
    return answers


async def bad_tokens_and_queues(stage: Stage) -> Any:
    rpc = stage.rpc
    nameless = service.PollWorkflowTaskQueueRequest(namespace=stage.namespace)
    return [
        await stage.answer(rpc.poll_workflow_task_queue(nameless)),
        await stage.answer(
            rpc.poll_activity_task_queue(service.PollActivityTaskQueueRequest(namespace=stage.namespace))
        ),
        await stage.answer(
            rpc.poll_activity_task_queue(
                service.PollActivityTaskQueueRequest(namespace="nowhere", task_queue=TaskQueue(name="x"))
            )
        ),
        await stage.answer(
            rpc.respond_workflow_task_completed(service.RespondWorkflowTaskCompletedRequest(namespace=stage.namespace))
        ),
        await stage.answer(
            rpc.respond_activity_task_completed(service.RespondActivityTaskCompletedRequest(namespace=stage.namespace))
        ),
        await stage.answer(
            rpc.get_workflow_execution_history(service.GetWorkflowExecutionHistoryRequest(namespace=stage.namespace))
        ),
        await stage.answer(rpc.describe_workflow_execution(service.DescribeWorkflowExecutionRequest())),
    ]


async def workflows_are_deleted(stage: Stage) -> Any:
    async with stage.worker([Ends]):
        handle = await stage.start(Ends.run, "end", id="deleted")
        await stage.outcome(handle)
        stage.ids.clear()
        from temporalio.api.common.v1 import WorkflowExecution

        execution = WorkflowExecution(workflow_id=handle.id)
        request = service.DeleteWorkflowExecutionRequest(namespace=stage.namespace, workflow_execution=execution)
        answers = [await stage.answer(stage.rpc.delete_workflow_execution(request))]
        gone = await stage.until(lambda: stage.answer(stage.describe(handle.id)), lambda a: isinstance(a, str))
        return [*answers, gone, await stage.answer(stage.rpc.delete_workflow_execution(request))]
