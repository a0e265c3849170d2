"""What is told of clusters: there is one, this."""

from __future__ import annotations

import uuid

from temporalio.api.errordetails.v1 import NotFoundFailure
from temporalio.api.operatorservice import v1 as operator
from temporalio.api.workflowservice import v1 as service

from perdure.api.errors import Rejected, StatusCode
from perdure.engine.engine import Engine
from perdure.frontend.calls import Call
from perdure.frontend.page_tokens import decode_name
from perdure.frontend.system import SERVER_VERSION
from perdure.stores.memory import MemoryStore

CLUSTER_NAME = "active"
_CLIENTS = ("cli", "go", "java", "php", "server", "typescript")


class Clusters:
    """The RPCs about clusters. Replication between clusters is not something that this server does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def info(self, request: service.GetClusterInfoRequest, call: Call) -> service.GetClusterInfoResponse:
        """GetClusterInfo."""
        kind = self._store_kind()
        return service.GetClusterInfoResponse(
            supported_clients={**{f"temporal-{name}": "<2.0.0" for name in _CLIENTS}, "temporal-ui": "<3.0.0"},
            server_version=SERVER_VERSION,
            cluster_id=self._id(),
            cluster_name=CLUSTER_NAME,
            history_shard_count=1,
            persistence_store=kind,
            visibility_store=kind,
            initial_failover_version=1,
            failover_version_increment=10,
        )

    async def list(self, request: operator.ListClustersRequest, call: Call) -> operator.ListClustersResponse:
        """OperatorService.ListClusters: there is one. Raises Rejected INVALID_ARGUMENT."""
        response = operator.ListClustersResponse()
        if decode_name(request.next_page_token) >= CLUSTER_NAME:
            return response
        response.clusters.add(
            cluster_name=CLUSTER_NAME,
            cluster_id=self._id(),
            initial_failover_version=1,
            history_shard_count=1,
            is_connection_enabled=True,
        )
        return response

    async def remove(
        self, request: operator.RemoveRemoteClusterRequest, call: Call
    ) -> operator.RemoveRemoteClusterResponse:
        """OperatorService.RemoveRemoteCluster: always refused, NOT_FOUND."""
        text = "The cluster to be deleted cannot be found in clusters cache."
        raise Rejected(StatusCode.NOT_FOUND, text, NotFoundFailure())

    def _store_kind(self) -> str:
        return "memory" if isinstance(self._engine.store, MemoryStore) else "sqlite"

    def _id(self) -> str:
        """The same for as long as the store lives: it follows from the id of its first namespace."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self._engine.namespaces.get("default").id))
