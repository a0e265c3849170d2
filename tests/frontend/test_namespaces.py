"""Namespaces and clusters: what operators do with them."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.errordetails.v1 import NamespaceAlreadyExistsFailure
from temporalio.api.namespace.v1 import NamespaceConfig, UpdateNamespaceInfo
from temporalio.api.operatorservice import v1 as operator
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import StatusCode
from perdure.frontend import WorkflowService
from perdure.frontend.operator_service import OperatorService
from tests.engine.world import World, start_request, virtual
from tests.frontend.test_visibility import refusal

DAY = Duration(seconds=86_400)


def new(namespace: str = "shop", **fields: Any) -> service.RegisterNamespaceRequest:
    return service.RegisterNamespaceRequest(
        **{"namespace": namespace, "workflow_execution_retention_period": DAY, **fields}
    )


@virtual
async def test_a_namespace_is_registered_and_usable_at_once(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.register_namespace(new(description="the shop", owner_email="a@b", data={"tier": "1"}))
        request = start_request()
        request.namespace = "shop"
        assert (await connection.start_workflow_execution(request)).started
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        described = await connection.describe_namespace(service.DescribeNamespaceRequest(namespace="shop"))
        info = described.namespace_info
        assert (info.description, info.owner_email, dict(info.data), info.state) == (
            "the shop",
            "a@b",
            {"tier": "1"},
            1,
        )
        assert described.config.workflow_execution_retention_ttl == DAY
        assert described.replication_config.active_cluster_name == "active"
        by_id = await connection.describe_namespace(service.DescribeNamespaceRequest(id=info.id))
        assert by_id == described


@virtual
async def test_what_cannot_be_registered_is_refused_in_temporals_words(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)

        async def asked(**fields: Any) -> str:
            return (await refusal(connection.register_namespace(new(**fields)))).message

        assert await asked(namespace="") == "Namespace not set on request."
        assert await asked(namespace="n" * 1001) == "Namespace length exceeds limit."
        assert await asked(is_global_namespace=True) == "Cannot register global namespace when not enabled"
        assert await asked(active_cluster_name="nope") == "Invalid cluster name: nope"
        for seconds in (0, 60, -3600):
            why = await asked(workflow_execution_retention_period=Duration(seconds=seconds))
            assert why == "A valid retention period is not set on request."
        await connection.register_namespace(new(workflow_execution_retention_period=Duration(seconds=3600)))
        refused = await refusal(connection.register_namespace(new()))
        assert (refused.code, refused.message) == (StatusCode.ALREADY_EXISTS, 'Namespace "shop" already exists')
        assert isinstance(refused.detail, NamespaceAlreadyExistsFailure)


@virtual
async def test_namespaces_are_listed_in_pages(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        for name in ("shop", "bank"):
            await connection.register_namespace(new(name))
        whole = await connection.list_namespaces(service.ListNamespacesRequest())
        assert [one.namespace_info.name for one in whole.namespaces] == ["bank", "default", "shop"]
        first = await connection.list_namespaces(service.ListNamespacesRequest(page_size=2))
        request = service.ListNamespacesRequest(page_size=2, next_page_token=first.next_page_token)
        second = await connection.list_namespaces(request)
        names = [one.namespace_info.name for one in (*first.namespaces, *second.namespaces)]
        assert names == ["bank", "default", "shop"]
        assert not second.next_page_token


@virtual
async def test_an_update_changes_what_it_names(world: World) -> None:
    async with world.engine() as engine:
        connection = WorkflowService(engine)
        await connection.register_namespace(new(description="old", owner_email="a@b", data={"a": "b"}))
        updated = await connection.update_namespace(
            service.UpdateNamespaceRequest(
                namespace="shop",
                update_info=UpdateNamespaceInfo(description="new", data={"c": "d"}),
                config=NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=7200)),
            )
        )
        info = updated.namespace_info
        assert (info.description, info.owner_email, dict(info.data)) == ("new", "a@b", {"a": "b", "c": "d"})
        assert updated.config.workflow_execution_retention_ttl.seconds == 7200
        nothing = await connection.update_namespace(service.UpdateNamespaceRequest(namespace="shop"))
        assert nothing == updated
        await connection.deprecate_namespace(service.DeprecateNamespaceRequest(namespace="shop"))
        described = await connection.describe_namespace(service.DescribeNamespaceRequest(namespace="shop"))
        assert described.namespace_info.state == 2
        short = service.UpdateNamespaceRequest(
            namespace="shop", config=NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=3))
        )
        refused = await refusal(connection.update_namespace(short))
        assert refused.message == "A valid retention period is not set on request."
        for call in (
            connection.update_namespace(service.UpdateNamespaceRequest(namespace="nope")),
            connection.deprecate_namespace(service.DeprecateNamespaceRequest(namespace="nope")),
        ):
            assert (await refusal(call)).code is StatusCode.NOT_FOUND


@virtual
async def test_a_deleted_namespace_is_not_found_and_then_free(world: World) -> None:
    async with world.engine() as engine:
        connection, service_ = WorkflowService(engine), OperatorService(engine)
        await connection.register_namespace(new())
        request = start_request()
        request.namespace = "shop"
        await connection.start_workflow_execution(request)
        passes = engine.pruner.passes.count
        deleted = await service_.delete_namespace(operator.DeleteNamespaceRequest(namespace="shop"))
        assert deleted.deleted_namespace.startswith("shop-deleted-")
        assert (await refusal(connection.start_workflow_execution(request))).code is StatusCode.NOT_FOUND
        await engine.pruner.passes.reached(passes + 1)
        await connection.register_namespace(new())
        counted = service.CountWorkflowExecutionsRequest(namespace="shop")
        assert (await connection.count_workflow_executions(counted)).count == 0
        for name, code in (
            ("nope", StatusCode.NOT_FOUND),
            ("", StatusCode.INVALID_ARGUMENT),
            ("default", StatusCode.FAILED_PRECONDITION),
        ):
            refused = await refusal(service_.delete_namespace(operator.DeleteNamespaceRequest(namespace=name)))
            assert refused.code is code


@virtual
async def test_there_is_one_cluster(world: World) -> None:
    async with world.engine() as engine:
        info = await WorkflowService(engine).get_cluster_info(service.GetClusterInfoRequest())
        [cluster] = (await OperatorService(engine).list_clusters(operator.ListClustersRequest())).clusters
        assert (info.cluster_name, info.cluster_id) == (cluster.cluster_name, cluster.cluster_id)
        assert info.server_version
        assert "temporal-cli" in info.supported_clients
        gone = operator.RemoveRemoteClusterRequest(cluster_name="nope")
        refused = await refusal(OperatorService(engine).remove_remote_cluster(gone))
        assert refused.code is StatusCode.NOT_FOUND
