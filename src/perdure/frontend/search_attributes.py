"""Custom search attributes: what a namespace's executions may be found by, beside what every execution has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice import v1 as operator
from temporalio.api.workflowservice import v1 as service

from perdure.core.search_attributes import PREDEFINED, SYSTEM, TYPE_NAMES, is_reserved
from perdure.engine.engine import Engine
from perdure.engine.node.faults import as_rejected
from perdure.frontend.calls import Call
from perdure.frontend.edge import check_length, invalid
from perdure.stores.api import Namespace, StoreError

CUSTOM_MAX = 200
"""In one namespace."""


class SearchAttributes:
    """The RPCs of the registry. What is added can be set, and asked for, as soon as the call returns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def add(
        self, request: operator.AddSearchAttributesRequest, call: Call
    ) -> operator.AddSearchAttributesResponse:
        """OperatorService.AddSearchAttributes; one that is there stays as it is.

        Raises Rejected INVALID_ARGUMENT, NOT_FOUND.
        """
        added = dict(request.search_attributes)
        _check(request.namespace, added)
        for name, type in added.items():
            check_length(call, "SearchAttribute name", name)
            if is_reserved(name):
                raise invalid(f"Search attribute {name} is reserved by system.")
            if not type:
                raise invalid(
                    "Unable to create search attributes: cannot have more than 0 search attribute of type Unspecified."
                )
            if type not in TYPE_NAMES:
                raise invalid(f"Unknown search attribute type: {type}.")

        def change(namespace: Namespace) -> Namespace:
            attributes = {**added, **namespace.search_attributes}
            if len(attributes) > CUSTOM_MAX:
                raise invalid(
                    f"Unable to create search attributes: cannot have more than {CUSTOM_MAX} search attributes."
                )
            return replace(namespace, search_attributes={name: int(type) for name, type in attributes.items()})

        await self._change(request.namespace, change)
        return operator.AddSearchAttributesResponse()

    async def remove(
        self, request: operator.RemoveSearchAttributesRequest, call: Call
    ) -> operator.RemoveSearchAttributesResponse:
        """OperatorService.RemoveSearchAttributes; what executions have of it is kept, and found when it is added again.

        Raises Rejected INVALID_ARGUMENT, NOT_FOUND.
        """
        removed = set(request.search_attributes)
        _check(request.namespace, removed)
        reserved = sorted(name for name in removed if name in SYSTEM or name in PREDEFINED)
        if reserved:
            raise invalid(f"Unable to remove non-custom search attributes: {', '.join(reserved)}.")

        def change(namespace: Namespace) -> Namespace:
            left = {name: type for name, type in namespace.search_attributes.items() if name not in removed}
            return replace(namespace, search_attributes=left)

        await self._change(request.namespace, change)
        return operator.RemoveSearchAttributesResponse()

    async def list(
        self, request: operator.ListSearchAttributesRequest, call: Call
    ) -> operator.ListSearchAttributesResponse:
        """OperatorService.ListSearchAttributes. Raises Rejected INVALID_ARGUMENT, NOT_FOUND."""
        if not request.namespace:
            raise invalid("Namespace is not set on request.")
        return operator.ListSearchAttributesResponse(
            custom_attributes=_numbers(self._engine.namespaces.search_attributes(request.namespace)),
            system_attributes=_numbers({**SYSTEM, **PREDEFINED}),
        )

    async def get(self, request: service.GetSearchAttributesRequest, call: Call) -> service.GetSearchAttributesResponse:
        """GetSearchAttributes: those of the system, and of all namespaces."""
        keys: dict[str, int] = {}
        for namespace in self._engine.namespaces.all():
            keys.update(self._engine.namespaces.search_attributes(namespace.name))
        return service.GetSearchAttributesResponse(keys=_numbers({**keys, **SYSTEM, **PREDEFINED}))

    async def _change(self, name: str, change: Callable[[Namespace], Namespace]) -> None:
        try:
            await self._engine.namespaces.change(name, change)
        except StoreError as error:
            raise as_rejected(error) from error


def _check(namespace: str, attributes: object) -> None:
    if not attributes:
        raise invalid("SearchAttributes are not set on request.")
    if not namespace:
        raise invalid("Namespace is not set on request.")


def _numbers(attributes: Mapping[str, int]) -> dict[str, IndexedValueType.ValueType]:
    """What Temporal's clients know; an attribute of ours alone is not shown to them."""
    return {
        name: IndexedValueType.ValueType(type)
        for name, type in attributes.items()
        if name not in SYSTEM or not name.startswith("Perdure")
    }
