"""An engine in this process, whole: its store, the engine over it, and the RPCs in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure.engine.engine import Engine
from perdure.engine.node.clock import Clock
from perdure.engine.node.config import EngineConfig
from perdure.frontend.calls import Interceptor
from perdure.frontend.chain import Chain
from perdure.frontend.operator_service import OperatorService
from perdure.frontend.rpcs import OPERATOR_SERVICE, WORKFLOW_SERVICE
from perdure.frontend.service import WorkflowService
from perdure.stores.api import Store


class _Rpcs(WorkflowService):
    """The workflow service, with what the SDK asks of the operator's beside it."""

    def __init__(self, engine: Engine, chain: Chain, operator: OperatorService) -> None:
        super().__init__(engine, chain)
        self.add_search_attributes = operator.add_search_attributes
        self.list_search_attributes = operator.list_search_attributes


class Near:
    """What answers the RPCs without a socket, between `open` and `close`, on one event loop.

    Args:
        store: not opened yet.
        clock: default the machine's.
        new_id: makes run ids and the like; default UUIDs of version 7.
        config: bounds.
        interceptors: what every call passes, the first is asked first.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        new_id: Callable[[], str] | None = None,
        config: EngineConfig | None = None,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self.store = store
        self.engine = Engine(store, clock, new_id, config)
        chain = Chain(self.engine, interceptors)
        self._operator = OperatorService(self.engine, chain)
        self.rpcs = _Rpcs(self.engine, chain, self._operator)

    @property
    def services(self) -> dict[str, object]:
        """What serves, by the service's name: for a transport."""
        return {WORKFLOW_SERVICE: self.rpcs, OPERATOR_SERVICE: self._operator}

    async def open(self) -> None:
        """Open the store and take up the work. Raises StoreError: the message says why and what to do."""
        await self.engine.start()

    async def close(self) -> None:
        """Stop and release the store. Idempotent."""
        await self.engine.stop()
