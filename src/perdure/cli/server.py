"""`perdure server`: the engine for workers and clients elsewhere, in any language that has a Temporal SDK."""

from __future__ import annotations

import asyncio
import signal

import click

from perdure.cli.output import plain_errors
from perdure.stores.open import open_store

try:
    import uvloop
except ImportError:
    uvloop = None


@click.command(short_help="Serve Temporal's gRPC API.")
@click.option("--store", "store_url", default="sqlite:///perdure.db", show_default=True, help="The store's URL.")
@click.option("--address", default="127.0.0.1:7233", show_default=True, help="Of gRPC; port 0: a free one.")
@click.option("--http-address", default="127.0.0.1:8233", show_default=True, help='Of /healthz and /metrics; "": none.')
@click.option("--namespace", "namespaces", multiple=True, default=("default",), help="Made if missing; repeatable.")
def server(store_url: str, address: str, http_address: str, namespaces: tuple[str, ...]) -> None:
    """Serve Temporal's gRPC API, until SIGTERM or SIGINT.

    Official Temporal SDKs, the `temporal` command line and its UI connect to it.
    """
    with plain_errors(OSError, ValueError), asyncio.Runner(loop_factory=uvloop and uvloop.new_event_loop) as runner:
        runner.run(_serve(store_url, address, http_address, namespaces))


@click.command(short_help="Serve tests whose time may jump.")
@click.argument("port", type=click.IntRange(0, 65535))
@click.option("--enable-time-skipping", is_flag=True, expose_value=False, help="It is; some SDKs say so all the same.")
def test_server(port: int) -> None:
    """Serve tests on PORT of this machine alone, from memory, until SIGTERM or SIGINT.

    Called as the official SDKs call a test server: hand them the path of `perdure-test-server` as the existing
    test server of their time-skipping environment.
    """
    with plain_errors(OSError), asyncio.Runner(loop_factory=uvloop and uvloop.new_event_loop) as runner:
        runner.run(_serve("memory://", f"127.0.0.1:{port}", "", ("default",), time_skipping=True))


async def _serve(
    store_url: str, address: str, http_address: str, namespaces: tuple[str, ...], *, time_skipping: bool = False
) -> None:
    try:
        from perdure.frontend.server.server import Server, ServerConfig
    except ImportError as error:
        raise click.ClickException(
            f"{error}: the server needs more packages, `pip install 'perdure[server]'`."
        ) from error
    config = ServerConfig(
        address=address, http_address=http_address, namespaces=namespaces, time_skipping=time_skipping
    )
    served = Server(open_store(store_url), config)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await served.start()
    try:
        http = f", http {served.http_address}" if served.http_address else ""
        click.echo(f"perdure server: ready on {served.address}{http}, store {store_url}")
        await stopped.wait()
    finally:
        await served.stop()
