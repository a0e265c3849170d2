"""Namespaces: describe."""

from __future__ import annotations

from temporalio.api.enums.v1 import NamespaceState
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import duration
from perdure.engine.engine import Engine
from perdure.frontend.capabilities import describe_capabilities
from perdure.frontend.edge import invalid
from perdure.stores.api import Namespace


class Namespaces:
    """The RPCs about namespaces."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def describe(self, request: service.DescribeNamespaceRequest) -> service.DescribeNamespaceResponse:
        """DescribeNamespace, by name or id. Raises Rejected NOT_FOUND, INVALID_ARGUMENT."""
        namespace = self._find(request)
        response = service.DescribeNamespaceResponse()
        info = response.namespace_info
        info.name = namespace.name
        info.id = namespace.id
        info.state = NamespaceState.NAMESPACE_STATE_REGISTERED
        info.description = namespace.description
        describe_capabilities(info, self._engine.config.limits)
        retention = duration(namespace.retention_ns)
        response.config.workflow_execution_retention_ttl.CopyFrom(retention)
        response.replication_config.active_cluster_name = "active"
        response.replication_config.clusters.add(cluster_name="active")
        return response

    def _find(self, request: service.DescribeNamespaceRequest) -> Namespace:
        if request.namespace:
            return self._engine.namespaces.get(request.namespace)
        if not request.id:
            raise invalid("Namespace not set on request.")
        for namespace in self._engine.namespaces.all():
            if namespace.id == request.id:
                return namespace
        detail = NamespaceNotFoundFailure(namespace=request.id)
        raise Rejected(StatusCode.NOT_FOUND, f"Namespace {request.id} is not found.", detail)
