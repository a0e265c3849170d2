"""`perdure server`: the engine for workers and clients elsewhere, in any language that has a Temporal SDK."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from perdure.cli import logs
from perdure.cli.output import plain_errors
from perdure.engine.node.config import EngineConfig
from perdure.frontend.server.settings import read_settings
from perdure.stores.open import open_store, shown_url

try:
    import uvloop
except ImportError:
    uvloop = None


@click.command(short_help="Serve Temporal's gRPC API.")
@click.option("--store", "store", default="sqlite:///perdure.db", show_default=True, help="The store's URL.")
@click.option("--address", default="127.0.0.1:7233", show_default=True, help="Of gRPC; port 0: a free one.")
@click.option("--http-address", default="127.0.0.1:8233", show_default=True, help='Of /healthz and /metrics; "": none.')
@click.option("--namespace", "namespaces", multiple=True, default=("default",), help="Made if missing; repeatable.")
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", show_default=True, help="Of its log.")
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", show_default=True, help="Of its log.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings and limits, a TOML file; options go first.")
@click.pass_context
def server(context: click.Context, config: Path | None, **options: Any) -> None:
    """Serve Temporal's gRPC API, until SIGTERM or SIGINT.

    Official Temporal SDKs, the `temporal` command line and its UI connect to it.
    """
    with plain_errors(OSError, ValueError):
        engine = EngineConfig()
        if config is not None:
            said, engine = read_settings(config, _TOP)
            for name, value in said.items():
                if context.get_parameter_source(name) is ParameterSource.DEFAULT:
                    options[name] = value
        logs.set_up(_one_of(logs.LEVELS, options.pop("log_level")), _one_of(logs.FORMATS, options.pop("log_format")))
        _run(options.pop("store"), engine=engine, **options)


_TOP = {
    "store": str, "address": str, "http_address": str, "namespaces": list, "log_level": str, "log_format": str
}  # fmt: skip
"""What a configuration file may say outside of its sections: the options' names."""


def _one_of(choices: tuple[str, ...], value: str) -> str:
    """The value; a configuration file may hold any. Raises ValueError."""
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return value


@click.command(short_help="Serve tests whose time may jump.")
@click.argument("port", type=click.IntRange(0, 65535))
@click.option("--enable-time-skipping", is_flag=True, expose_value=False, help="It is; some SDKs say so all the same.")
def test_server(port: int) -> None:
    """Serve tests on PORT of this machine alone, from memory, until SIGTERM or SIGINT.

    Called as the official SDKs call a test server: hand them the path of `perdure-test-server` as the existing
    test server of their time-skipping environment.
    """
    with plain_errors(OSError):
        logs.set_up("warning", "text")
        _run("memory://", address=f"127.0.0.1:{port}", http_address="", time_skipping=True)


def _run(store_url: str, **settings: Any) -> None:
    """Serve until a signal comes. `settings`: the fields of `ServerConfig`."""
    with asyncio.Runner(loop_factory=uvloop and uvloop.new_event_loop) as runner:
        runner.run(_serve(store_url, settings))


async def _serve(store_url: str, settings: dict[str, Any]) -> None:
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
    await served.start()
    try:
        http = f", http {served.http_address}" if served.http_address else ""
        click.echo(f"perdure server: ready on {served.address}{http}, store {shown_url(store_url)}")
        await stopped.wait()
    finally:
        await served.stop()
