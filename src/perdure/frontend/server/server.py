"""The server of one process: store, engine and transport, started together and drained together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from perdure.engine import collector
from perdure.engine.config import EngineConfig
from perdure.engine.engine import Engine
from perdure.frontend.server.rpcs import WORKFLOW_SERVICE
from perdure.frontend.server.transport import Transport
from perdure.frontend.service import WorkflowService
from perdure.stores.api import Namespace, Store


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What an operator sets. Addresses are `host:port`; port 0 takes a free one."""

    address: str = "127.0.0.1:7233"
    namespaces: Sequence[str] = ("default",)
    """Made at start when they are not there."""
    drain_ns: int = 5_000_000_000
    """How long calls under way may last once the server was told to stop."""
    engine: EngineConfig = field(default_factory=EngineConfig)


class Server:
    """Workers and clients of any language connect to it. `start` and `stop` once each, on one event loop."""

    def __init__(self, store: Store, config: ServerConfig | None = None) -> None:
        self.config = config or ServerConfig()
        self.engine = Engine(store, config=self.config.engine)
        self._transport: Transport | None = None
        self.address = self.config.address

    async def start(self) -> None:
        """Open the store, then listen. Raises StoreError, OSError; then nothing is left running."""
        engine = self.engine
        await engine.start()
        collector.relax()
        try:
            await self._make_namespaces()
            self._transport = Transport({WORKFLOW_SERVICE: WorkflowService(engine)})
            self.address = await self._transport.start(self.config.address)
        except BaseException:
            await self.stop()
            raise

    async def _make_namespaces(self) -> None:
        engine = self.engine
        known = {namespace.name for namespace in engine.namespaces.all()}
        for name in self.config.namespaces:
            if name not in known:
                await engine.namespaces.put(Namespace(name, engine.new_id(), engine.config.default_retention_days))

    async def stop(self) -> None:
        """Send polls away, let calls under way end, then close the store."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.stop(self.config.drain_ns / 1e9, self.engine.send_away)
        await self.engine.stop()
        collector.restore()
