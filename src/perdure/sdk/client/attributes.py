"""`engine.search_attributes`: those of the namespace. A name must be registered, with its type, before it is set.

engine.search_attributes.add({"Customer": "Keyword"})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice import v1 as operator

from perdure.sdk.choices import member_of
from perdure.sdk.client.blocking import Blocking, blocking
from perdure.sdk.client.calls import Reach
from perdure.sdk.client.sending import sends_texts
from perdure.sdk.declare.search_attributes import SearchAttribute, SearchAttributeType
from perdure.sdk.deprecated import instead
from perdure.sdk.option_names import lists_options

_TYPES: dict[SearchAttributeType, IndexedValueType.ValueType] = {
    SearchAttributeType.TEXT: IndexedValueType.INDEXED_VALUE_TYPE_TEXT,
    SearchAttributeType.KEYWORD: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    SearchAttributeType.INT: IndexedValueType.INDEXED_VALUE_TYPE_INT,
    SearchAttributeType.DOUBLE: IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE,
    SearchAttributeType.BOOL: IndexedValueType.INDEXED_VALUE_TYPE_BOOL,
    SearchAttributeType.DATETIME: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
    SearchAttributeType.KEYWORD_LIST: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
}
_NAMES = {number: name for name, number in _TYPES.items()}


@lists_options
@sends_texts
class AsyncSearchAttributeRegistry:
    """The custom search attributes of a namespace. Every method may raise EngineError."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def add(self, attributes: Mapping[str, SearchAttributeType | str] | Sequence[SearchAttribute]) -> None:
        """Register search attributes of the namespace. One that is there stays as it is, whatever its type.

        Args:
            attributes: types by name, as {"Customer": "Keyword"}, or keys, as [SearchAttribute.text("Note")].

        Raises:
            ValueError: a type that there is not.
            EngineError: a name that is reserved, or too many.
        """
        types: Mapping[str, str] = (
            {key.name: key.type for key in attributes} if isinstance(attributes, Sequence) else attributes
        )
        request = operator.AddSearchAttributesRequest(namespace=self._reach.namespace)
        for name, kind in types.items():
            what = f"the type of search attribute {name!r}"
            request.search_attributes[name] = _TYPES[
                member_of(SearchAttributeType, kind, what, wire="INDEXED_VALUE_TYPE_")
            ]
        if types:
            await self._reach.ask(
                self._reach.connection.add_search_attributes, request, "registering search attributes"
            )

    async def list(self) -> dict[str, SearchAttributeType]:
        """The search attributes that were registered in the namespace: types by name."""
        request = operator.ListSearchAttributesRequest(namespace=self._reach.namespace)
        found = await self._reach.ask(
            self._reach.connection.list_search_attributes, request, "listing search attributes"
        )
        custom = found.custom_attributes
        return {name: _NAMES[custom[name]] for name in sorted(custom)}

    if not TYPE_CHECKING:
        __call__ = instead("engine.search_attributes.list()", old="search_attributes()")(list)


@lists_options
class SearchAttributeRegistry(Blocking[AsyncSearchAttributeRegistry]):
    """`AsyncSearchAttributeRegistry` for plain code: the same methods, blocking."""

    add = blocking(AsyncSearchAttributeRegistry.add)
    list = blocking(AsyncSearchAttributeRegistry.list)

    if not TYPE_CHECKING:
        __call__ = instead("engine.search_attributes.list()", old="search_attributes()")(list)
