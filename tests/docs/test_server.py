"""The server's documents say what the server is."""

from __future__ import annotations

import re
from pathlib import Path

from perdure.cli.server import server
from perdure.frontend.server.settings import read_settings
from scripts import api_table
from tests.tidy.files import text_of


def test_the_table_of_rpcs_is_up_to_date() -> None:
    """After a new RPC: `make api`."""
    assert text_of(Path("docs/temporal-api.md")) == api_table.document()


def test_the_settings_that_are_shown_are_understood(tmp_path: Path) -> None:
    shown = re.findall(r"^```toml\n(.*?)^```", text_of(Path("docs/server.md")), re.MULTILINE | re.DOTALL)
    path = tmp_path / "server.toml"
    path.write_text("\n".join(sorted(shown, key=lambda one: one.startswith("["))))  # tables end what has none
    said, engine = read_settings(path, {"store": str, "address": str, "http_address": str, "namespaces": list})
    assert said["tls"].require_client_auth and list(said["tls"].host_overrides) == ["orders.example.com"]
    assert said["namespaces"] == ["default", "billing"]
    assert engine.limits.blob_bytes == 2 << 20


def test_every_option_is_described() -> None:
    described = re.findall(r"(?:^\||,) `(--[a-z-]+)`(?=[^|]*\|)", text_of(Path("docs/server.md")), re.MULTILINE)
    assert described == [option.opts[0] for option in server.params]
