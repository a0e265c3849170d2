"""One process that serves a store until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import click

from perdure.stores.open import open_store, shown_url

try:
    import uvloop
except ImportError:
    uvloop = None


def serve(
    store_url: str,
    announce: Callable[[str, str], None] | None = None,
    *,
    until_closed: int | None = None,
    **settings: Any,
) -> None:
    """Serve until SIGTERM or SIGINT. Raises StoreError, OSError, ValueError; ClickException without the packages.

    Args:
        store_url: The store.
        announce: Given the address of gRPC and that of HTTP ("": none) once it serves, instead of people.
        until_closed: A file descriptor that is a reason to stop as well when it is at its end.
        settings: The fields of `ServerConfig`.
    """
    with asyncio.Runner(loop_factory=uvloop and uvloop.new_event_loop) as runner:
        runner.run(_serve(store_url, announce, until_closed, settings))


async def _serve(
    store_url: str, announce: Callable[[str, str], None] | None, until_closed: int | None, settings: dict[str, Any]
) -> None:
    try:
        from perdure.frontend.server.server import Server, ServerConfig
    except ImportError as error:
        message = f"{error}: the server needs more packages, `pip install 'perdure[server]'`."
        raise click.ClickException(message) from error
    served = Server(open_store(store_url), ServerConfig(**settings))
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if until_closed is not None:
        loop.add_reader(until_closed, stopped.set)  # nothing more is ever written there
    await served.start()
    try:
        http_address = served.http_address if served.config.http_address else ""
        if announce is not None:
            announce(served.address, http_address)
        else:
            http = f", http {http_address}" if http_address else ""
            click.echo(f"perdure server: ready on {served.address}{http}, store {shown_url(store_url)}")
        await stopped.wait()
    finally:
        if until_closed is not None:
            loop.remove_reader(until_closed)
        await served.stop()
