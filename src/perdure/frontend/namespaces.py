"""Namespaces: register, describe, update, list, deprecate, delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import ArchivalState, NamespaceState
from temporalio.api.errordetails.v1 import NamespaceAlreadyExistsFailure, NamespaceNotFoundFailure
from temporalio.api.namespace.v1 import NamespaceConfig, NamespaceInfo
from temporalio.api.operatorservice import v1 as operator
from temporalio.api.replication.v1 import NamespaceReplicationConfig
from temporalio.api.workflowservice import v1 as service

from perdure.api.bounds import cap
from perdure.api.errors import Rejected, StatusCode
from perdure.api.times import NS_PER_SECOND, duration, duration_ns
from perdure.engine.engine import Engine
from perdure.engine.namespaces import DEFAULT_NAMESPACE, DELETED
from perdure.engine.node.faults import as_rejected
from perdure.frontend.calls import Call
from perdure.frontend.capabilities import describe_capabilities
from perdure.frontend.clusters import CLUSTER_NAME
from perdure.frontend.edge import invalid
from perdure.frontend.page_tokens import decode_name, encode_name
from perdure.stores.api import PAGE_BYTES, Namespace, StoreError, paged

RETENTION_MIN_NS = 3600 * NS_PER_SECOND
"""Temporal's: an hour."""
_PAGE_SIZE_MAX = 1_000
_DEPRECATED = NamespaceState.NAMESPACE_STATE_DEPRECATED


class Namespaces:
    """The RPCs about namespaces."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def register(
        self, request: service.RegisterNamespaceRequest, call: Call
    ) -> service.RegisterNamespaceResponse:
        """RegisterNamespace: usable when this returns. Raises Rejected INVALID_ARGUMENT, ALREADY_EXISTS."""
        name, namespaces = request.namespace, self._engine.namespaces
        _check_name(name)
        if len(name) > self._engine.config.limits.id_length:
            raise invalid("Namespace length exceeds limit.")
        if request.is_global_namespace:
            raise invalid("Cannot register global namespace when not enabled")
        for cluster in [request.active_cluster_name, *(one.cluster_name for one in request.clusters)]:
            if cluster not in ("", CLUSTER_NAME):
                raise invalid(f"Invalid cluster name: {cluster}")
        retention_ns = _retention_ns(request.workflow_execution_retention_period)
        if namespaces.is_taken(name):
            raise _exists(name)
        namespace = Namespace(
            name,
            self._engine.new_id(),
            retention_ns,
            request.description,
            request.owner_email,
            data=dict(request.data),
        )
        await self._add(namespace)
        return service.RegisterNamespaceResponse()

    async def describe(
        self, request: service.DescribeNamespaceRequest, call: Call
    ) -> service.DescribeNamespaceResponse:
        """DescribeNamespace, by name or id. Raises Rejected NOT_FOUND, INVALID_ARGUMENT."""
        return self._described(self._find(request))

    async def list(self, request: service.ListNamespacesRequest, call: Call) -> service.ListNamespacesResponse:
        """ListNamespaces, by name, a page bounded by number and by bytes. Raises Rejected INVALID_ARGUMENT."""
        limit = min(request.page_size, _PAGE_SIZE_MAX) if request.page_size > 0 else _PAGE_SIZE_MAX
        after = decode_name(request.next_page_token)
        left = [namespace for namespace in self._engine.namespaces.all() if namespace.name > after]
        page = paged((self._described(one) for one in left), lambda one: one.ByteSize(), limit, PAGE_BYTES)
        response = service.ListNamespacesResponse(namespaces=page)
        if len(page) < len(left):
            response.next_page_token = encode_name(left[len(page) - 1].name)
        return response

    async def update(self, request: service.UpdateNamespaceRequest, call: Call) -> service.UpdateNamespaceResponse:
        """UpdateNamespace: what is set is changed, data is added to. Raises Rejected INVALID_ARGUMENT, NOT_FOUND."""
        _check_name(request.namespace)
        info, config = request.update_info, request.config
        changes: dict[str, object] = {}
        if config.HasField("workflow_execution_retention_ttl"):
            changes["retention_ns"] = _retention_ns(config.workflow_execution_retention_ttl)
        if info.description:
            changes["description"] = info.description
        if info.owner_email:
            changes["owner_email"] = info.owner_email
        if info.state in (NamespaceState.NAMESPACE_STATE_REGISTERED, _DEPRECATED):
            changes["state"] = int(info.state)
        added = dict(info.data)

        def change(namespace: Namespace) -> Namespace:
            data = {**namespace.data, **added}
            entries_max = self._engine.config.limits.entries
            if len(data) > entries_max:
                raise invalid(f"the namespace's data would have too many entries: {len(data)} > {entries_max}")
            return replace(namespace, data=data, **changes)

        described = self._described(await self._change(request.namespace, change))
        return service.UpdateNamespaceResponse(
            namespace_info=described.namespace_info,
            config=described.config,
            replication_config=described.replication_config,
        )

    async def deprecate(
        self, request: service.DeprecateNamespaceRequest, call: Call
    ) -> service.DeprecateNamespaceResponse:
        """DeprecateNamespace: it says so of itself, and serves as before. Raises Rejected NOT_FOUND."""
        _check_name(request.namespace)
        await self._change(request.namespace, lambda namespace: replace(namespace, state=int(_DEPRECATED)))
        return service.DeprecateNamespaceResponse()

    async def delete(self, request: operator.DeleteNamespaceRequest, call: Call) -> operator.DeleteNamespaceResponse:
        """OperatorService.DeleteNamespace: not found from now on; what is in it is deleted in the background.

        Raises Rejected NOT_FOUND, INVALID_ARGUMENT, FAILED_PRECONDITION for `default`, which every store has.
        """
        name = request.namespace
        if not name and request.namespace_id:
            found = [one for one in self._engine.namespaces.all() if one.id == request.namespace_id]
            name = found[0].name if found else request.namespace_id
        _check_name(name)
        if name == DEFAULT_NAMESPACE:
            raise Rejected(StatusCode.FAILED_PRECONDITION, f"unable to delete the namespace {DEFAULT_NAMESPACE}")
        deleted = await self._change(name, lambda namespace: replace(namespace, state=int(DELETED)))
        self._engine.pruner.hurry()
        return operator.DeleteNamespaceResponse(deleted_namespace=f"{name}-deleted-{deleted.id[:5]}")

    async def _add(self, namespace: Namespace) -> None:
        try:
            is_new = await self._engine.namespaces.add(namespace)
        except StoreError as error:
            raise as_rejected(error) from error
        if not is_new:  # another node was faster
            raise _exists(namespace.name)

    async def _change(self, name: str, change: Callable[[Namespace], Namespace]) -> Namespace:
        try:
            return await self._engine.namespaces.change(name, change)
        except StoreError as error:
            raise as_rejected(error) from error

    def _described(self, namespace: Namespace) -> service.DescribeNamespaceResponse:
        info = NamespaceInfo(
            name=namespace.name,
            id=namespace.id,
            state=namespace.state,  # pyright: ignore[reportArgumentType] - the enum's number
            description=namespace.description,
            owner_email=namespace.owner_email,
            data=namespace.data,
        )
        describe_capabilities(info, self._engine.config.limits)
        config = NamespaceConfig(
            workflow_execution_retention_ttl=duration(namespace.retention_ns),
            history_archival_state=ArchivalState.ARCHIVAL_STATE_DISABLED,
            visibility_archival_state=ArchivalState.ARCHIVAL_STATE_DISABLED,
            custom_search_attribute_aliases={name: name for name in namespace.search_attributes},
        )
        config.bad_binaries.SetInParent()
        replication = NamespaceReplicationConfig(active_cluster_name=CLUSTER_NAME)
        replication.clusters.add(cluster_name=CLUSTER_NAME)
        return service.DescribeNamespaceResponse(namespace_info=info, config=config, replication_config=replication)

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


def _check_name(name: str) -> None:
    if not name:
        raise invalid("Namespace not set on request.")


def _retention_ns(retention: Duration) -> int:
    """A century at most. Raises Rejected INVALID_ARGUMENT for one that is too short."""
    if cap(retention) or duration_ns(retention) < RETENTION_MIN_NS:
        raise invalid("A valid retention period is not set on request.")
    return duration_ns(retention)


def _exists(name: str) -> Rejected:
    return Rejected(StatusCode.ALREADY_EXISTS, f'Namespace "{name}" already exists', NamespaceAlreadyExistsFailure())
