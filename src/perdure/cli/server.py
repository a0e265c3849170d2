"""`perdure server`: the engine for workers and clients elsewhere, in any language that has a Temporal SDK."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from perdure.cli import logs
from perdure.cli.output import plain_errors
from perdure.cli.processes import Settings, check_processes, run_processes
from perdure.cli.serving import serve
from perdure.engine.node.config import EngineConfig
from perdure.frontend.server.settings import read_settings
from perdure.frontend.tls import Certificate, TlsConfig


@click.command(short_help="Serve Temporal's gRPC API.")
@click.option("--store", "store", default="sqlite:///perdure.db", show_default=True, help="The store's URL.")
@click.option("--address", default="127.0.0.1:7233", show_default=True, help="Of gRPC; port 0: a free one.")
@click.option("--http-address", default="127.0.0.1:8233", show_default=True, help='Of its side door; "": none.')
@click.option("--processes", default=1, show_default=True, help="So many, behind one address; HTTP: a port each.")
@click.option("--namespace", "namespaces", multiple=True, default=("default",), help="Made if missing; repeatable.")
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", show_default=True, help="Of its log.")
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", show_default=True, help="Of its log.")
@click.option("--tls-cert-file", metavar="PEM", help="Serve with TLS: this certificate.")
@click.option("--tls-key-file", metavar="PEM", help="Its key.")
@click.option("--tls-client-ca-file", multiple=True, metavar="PEM", help="Clients must show one of its certificates.")
@click.option("--insecure", is_flag=True, help="Serve other machines without protection.")
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
            for section in ("tls", "authorization"):
                options[section] = said.pop(section, None)
            for name, value in said.items():
                if context.get_parameter_source(name) is ParameterSource.DEFAULT:
                    options[name] = value
        options["tls"] = _tls(options, options.get("tls"))
        level, form = _one_of(logs.LEVELS, options["log_level"]), _one_of(logs.FORMATS, options["log_format"])
        logs.set_up(level, form)
        count = options.pop("processes")
        check_processes(count, options["store"], options["http_address"])
        if count > 1:
            sys.exit(run_processes(Settings(engine=engine, **options), count))
        del options["log_level"], options["log_format"]
        serve(options.pop("store"), engine=engine, **options)


def _tls(options: dict[str, Any], said: TlsConfig | None) -> TlsConfig | None:
    """What the options say, which go before the file. Raises ValueError."""
    cert, key, authorities = (options.pop(f"tls_{name}") for name in ("cert_file", "key_file", "client_ca_file"))
    if not (cert or key):
        if authorities:
            raise ValueError("--tls-client-ca-file needs --tls-cert-file and --tls-key-file")
        return said
    if not (cert and key):
        raise ValueError("--tls-cert-file and --tls-key-file go together")
    pair = Certificate(cert_file=cert, key_file=key)
    return TlsConfig(server=pair, client_ca_files=authorities, require_client_auth=bool(authorities))


_TOP = {
    "store": str, "address": str, "http_address": str, "namespaces": list, "log_level": str, "log_format": str,
    "processes": int, "insecure": bool,
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
        serve("memory://", address=f"127.0.0.1:{port}", http_address="", time_skipping=True)
