"""`[tls]` of a server's configuration file, in Temporal's words (common/config/config.go, `RootTLS`):

    [tls.frontend.server]
    certFile = "/etc/perdure/tls.crt"
    keyFile = "/etc/perdure/tls.key"
    clientCaFiles = ["/etc/perdure/clients.crt"]
    requireClientAuth = true

    [tls.frontend.hostOverrides."orders.example.com"]
    certFile = "/etc/perdure/orders.crt"
    keyFile = "/etc/perdure/orders.key"

    [tls]
    refreshInterval = "1m"
    expirationChecks = { warningWindow = "14d", errorWindow = "2d", checkInterval = "1h" }

There is no `internode`: nodes of a fleet meet in their database, whose URL says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.frontend.server.tables import Table
from perdure.frontend.tls import Certificate, TlsConfig


def read_tls(table: Table) -> TlsConfig:
    """Raises SettingsError."""
    frontend = table.table("frontend")
    server = frontend.table("server")
    checks = table.table("expirationChecks", optional=True)
    said: dict[str, Any] = {
        "server": _certificate(server),
        "client_ca_files": server.texts("clientCaFiles"),
        "require_client_auth": server.flag("requireClientAuth"),
        "host_overrides": {host.lower(): _only(one) for host, one in frontend.tables("hostOverrides").items()},
        "refresh_ns": table.duration("refreshInterval"),
        "warning_ns": checks.duration("warningWindow"),
        "error_ns": checks.duration("errorWindow"),
        "check_ns": checks.duration("checkInterval"),
    }
    for one in (table, frontend, server, checks):
        one.end()
    return TlsConfig(**_told(said))


def _certificate(table: Table) -> Certificate:
    return Certificate(cert_file=table.text("certFile"), key_file=table.text("keyFile"))


def _only(table: Table) -> Certificate:
    """Of a host: which clients are let in is the same for all hosts."""
    found = _certificate(table)
    table.end()
    return found


def _told(said: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the file leaves at its default."""
    return {name: value for name, value in said.items() if value is not None}
