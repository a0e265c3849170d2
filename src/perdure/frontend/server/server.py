"""The server of one process: store, engine and transport, started together and drained together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from perdure.engine.engine import Engine
from perdure.engine.node import collector
from perdure.engine.node.clock import SystemClock
from perdure.engine.node.config import EngineConfig
from perdure.engine.time_skipping import SkippingClock, TimeSkipper
from perdure.frontend.authorization import Authorization, AuthorizationConfig
from perdure.frontend.calls import Interceptor
from perdure.frontend.chain import Chain
from perdure.frontend.grpc.address import is_loopback, split_address
from perdure.frontend.grpc.peer import ALPN
from perdure.frontend.grpc.transport import Counts, Transport
from perdure.frontend.http.exposition import CONTENT_TYPE, exposition
from perdure.frontend.http.side_door import SideDoor
from perdure.frontend.lag import LagWatch
from perdure.frontend.operator_service import OperatorService
from perdure.frontend.rpcs import OPERATOR_SERVICE, TEST_SERVICE, WORKFLOW_SERVICE
from perdure.frontend.service import WorkflowService
from perdure.frontend.test_service import TestService
from perdure.frontend.tls import Tls, TlsConfig
from perdure.stores.api import Namespace, Store


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What an operator sets. Addresses are `host:port`; port 0 takes a free one."""

    address: str = "127.0.0.1:7233"
    http_address: str = "127.0.0.1:8233"
    """Of `/healthz`, `/readyz` and `/metrics`; "" for none."""
    namespaces: Sequence[str] = ("default",)
    """Made at start when they are not there."""
    drain_ns: int = 5_000_000_000
    """How long calls under way may last once the server was told to stop."""
    engine: EngineConfig = field(default_factory=lambda: EngineConfig(prune_every_ns=60_000_000_000))
    time_skipping: bool = False
    """A test server: serve the TestService too, by which a test lets time jump."""
    shares_port: bool = False
    """Other processes of this host listen on the same address."""
    tls: TlsConfig | None = None
    """Of both ports; None: everything can be read on its way, and changed."""
    authorization: AuthorizationConfig | None = None
    """Who may do what; None: whoever reaches the server may do everything."""
    insecure: bool = False
    """Listen beyond this machine also without TLS, and without asking who calls."""


_PLAIN = "text/plain; charset=utf-8"


_LACKS = {
    False: "without TLS everything could be read and changed on its way: give --tls-cert-file and --tls-key-file",
    True: "whoever reaches it could do everything: give --tls-client-ca-file, or [authorization] in the settings",
}
"""What an address without protection needs first, by whether there is TLS."""


def check_exposure(config: ServerConfig) -> None:
    """Raises ValueError for an address beyond this machine at which whoever comes is owner of everything."""
    is_safe = config.tls is not None and (config.authorization is not None or config.tls.require_client_auth)
    if config.insecure or is_safe:
        return
    for address in (config.address, config.http_address):
        if address and not is_loopback(split_address(address)[0]):
            raise ValueError(
                f"{address} is reached by other machines, and {_LACKS[config.tls is not None]}, "
                "or say --insecure if something else protects it"
            )


class Server:
    """Workers and clients of any language connect to it. `start` and `stop` once each, on one event loop.

    Raises ValueError for a time that is to skip on a store that several nodes share: theirs would not; for an address
    that others reach and nothing protects; TlsError.
    """

    def __init__(
        self, store: Store, config: ServerConfig | None = None, interceptors: Sequence[Interceptor] = ()
    ) -> None:
        self.config = config or ServerConfig()
        if self.config.time_skipping and store.is_shared:
            raise ValueError(
                "Time cannot skip on a store that several nodes share: a test server keeps one of its own."
            )
        check_exposure(self.config)
        clock = SkippingClock() if self.config.time_skipping else SystemClock()
        self.engine = Engine(store, clock, config=self.config.engine)
        authorization = self.config.authorization
        self.authorization = None if authorization is None else Authorization(authorization)
        first = () if self.authorization is None else (self.authorization,)
        self._interceptors = (*first, *interceptors)
        self._skipper = TimeSkipper(self.engine, clock) if isinstance(clock, SkippingClock) else None
        self.transport: Transport | None = None
        self.tls = None if self.config.tls is None else Tls(self.config.tls)
        self.lag = LagWatch()
        self.address = self.config.address
        self.http_address = self.config.http_address
        self._side_door = SideDoor({"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._metrics})

    async def start(self) -> None:
        """Open the store, then listen. Raises StoreError, OSError; then nothing is left running."""
        engine, tls = self.engine, self.tls
        await engine.start()
        collector.relax()
        try:
            await self._make_namespaces()
            if self._skipper is not None:
                await self._skipper.start()
            self.lag.start()
            authorization = self.authorization
            if authorization is not None:
                await authorization.start()
                self._side_door.guard("/metrics", authorization.admit)
            admit = None if authorization is None else authorization.admit
            self.transport = Transport(self.services(), lambda: self.engine.is_ready, admit)
            context, http_context = (None, None) if tls is None else (tls.context(ALPN), tls.context("http/1.1"))
            if tls is not None:
                tls.start()
            self.address = await self.transport.start(
                self.config.address, shares_port=self.config.shares_port, tls=context
            )
            if engine.duties.me is not None:
                engine.duties.me.address = self.address
            if self.config.http_address:
                host, port = split_address(self.config.http_address)
                self.http_address = f"{host}:{await self._side_door.start(host, port, http_context)}"
        except BaseException:
            await self.stop()
            raise

    def services(self) -> dict[str, object]:
        """What serves, by the service's name."""
        chain = Chain(self.engine, self._interceptors)
        services: dict[str, object] = {
            WORKFLOW_SERVICE: WorkflowService(self.engine, chain),
            OPERATOR_SERVICE: OperatorService(self.engine, chain),
        }
        if self._skipper is not None:
            services[TEST_SERVICE] = TestService(self._skipper, chain)
        return services

    async def _make_namespaces(self) -> None:
        engine = self.engine
        for name in self.config.namespaces:
            if not engine.namespaces.is_taken(name):
                await engine.namespaces.add(Namespace(name, engine.new_id(), engine.config.default_retention_ns))

    def _health(self) -> tuple[int, str, str]:
        is_serving = self.engine.is_started and self.transport is not None
        return (200, _PLAIN, "serving\n") if is_serving else (503, _PLAIN, "stopping\n")

    def _readiness(self) -> tuple[int, str, str]:
        if self.engine.is_ready and self.transport is not None:
            return 200, _PLAIN, "ready\n"
        return 503, _PLAIN, "the store is not reached\n" if self.engine.is_started else "stopping\n"

    def _metrics(self) -> tuple[int, str, str]:
        counts = self.transport.counts if self.transport is not None else Counts()
        text = exposition(self.engine.metrics(), counts.calls, counts.refusals, self.lag.stalls)
        return 200, CONTENT_TYPE, text

    async def stop(self) -> None:
        """Send polls away, let calls under way end, then close the store."""
        transport, self.transport = self.transport, None
        if transport is not None:
            await transport.stop(self.config.drain_ns / 1e9, self.engine.send_away)
        self.lag.stop()
        if self.tls is not None:
            self.tls.stop()
        if self.authorization is not None:
            self.authorization.stop()
        await self._side_door.stop()
        if self._skipper is not None:
            await self._skipper.stop()
        await self.engine.stop()
        collector.restore()
