"""TLS of the server's ports: which certificates, whom they trust, and new ones in place of old ones.

Names and meaning are those of Temporal's server configuration (`tls.frontend`, common/config/config.go): `certFile`,
`keyFile`, `clientCaFiles`, `requireClientAuth`, `hostOverrides`, `refreshInterval`, `expirationChecks`.

A context of Python's `ssl` cannot forget what it has loaded, so it is never changed: when a file has changed, a new one
is made of all files, and handshakes from then on take that. Files that do not fit one another (a certificate is there,
its key not yet) leave the old one in use, and the log says so. Connections that stand are not touched.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

_log = logging.getLogger(__name__)

_DAY_NS = 86_400 * 10**9


class TlsError(ValueError):
    """TLS cannot be as the configuration has it; the message names the file or the setting."""


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What the server shows of itself."""

    cert_file: str
    """PEM: the server's certificate, and those between it and its root."""
    key_file: str
    """PEM, without a password."""


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """TLS of all ports of a server."""

    server: Certificate
    client_ca_files: Sequence[str] = ()
    """PEM: who may sign the certificates of clients."""
    require_client_auth: bool = False
    """A client without a certificate that one of those has signed is refused. False: one that shows none is let in, and
    one that shows a bad one is not."""
    host_overrides: Mapping[str, Certificate] = {}
    """What is shown to whoever asks for such a host (SNI), in lower case."""
    refresh_ns: int = 60 * 10**9
    """How often files are looked at."""
    warning_ns: int = 14 * _DAY_NS
    """Before a certificate expires, the log begins to warn so early."""
    error_ns: int = 2 * _DAY_NS
    """And calls it an error so early."""
    check_ns: int = 3600 * 10**9
    """How often it says so."""

    @property
    def files(self) -> tuple[str, ...]:
        """All that are read."""
        pairs = [self.server, *self.host_overrides.values()]
        return (*(name for one in pairs for name in (one.cert_file, one.key_file)), *self.client_ca_files)


def check(config: TlsConfig) -> None:
    """Raises TlsError for what contradicts itself, or cannot be loaded."""
    if config.require_client_auth and not config.client_ca_files:
        raise TlsError("requireClientAuth: name in clientCaFiles who signs the clients' certificates")
    _contexts(config, "h2")


class Tls:
    """The contexts of a configuration, new when its files are. Raises TlsError."""

    def __init__(self, config: TlsConfig, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._config = config
        self._wall_ns = wall_ns
        self._seen = _looks(config.files)
        check(config)
        self._current: dict[str, dict[str, ssl.SSLContext]] = {}
        """By protocol and host, "" for any other."""
        self._watching: asyncio.Task[None] | None = None
        self._said_at_ns = -config.check_ns

    def context(self, protocol: str) -> ssl.SSLContext:
        """For a port that speaks this `protocol`, by its name in ALPN (RFC 7301). A handshake takes what is current."""
        front = _context(self._config.server, self._config, protocol)
        self._current[protocol] = _contexts(self._config, protocol)

        def pick(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            current = self._current[protocol]
            connection.context = current.get((name or "").lower()) or current[""]

        front.sni_callback = cast("Any", pick)  # typeshed wants the socket alone; asyncio has no sockets there
        return front

    def start(self) -> None:
        """Look after the files until `stop`."""
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="certificates")
        self._tell_expiry()

    def stop(self) -> None:
        """Idempotent."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_ns / 1e9)
            self.refresh()
            self._tell_expiry()

    def refresh(self) -> bool:
        """Look at the files now; whether new ones are in use. What is wrong with them is said in the log, once."""
        seen = _looks(self._config.files)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._current = {protocol: _contexts(self._config, protocol) for protocol in self._current}
        except TlsError as error:
            _log.error("new certificates are not used, the old ones still are: %s", error)
            return False
        _log.info("new certificates are used: %s", ", ".join(self._config.files))
        self._said_at_ns = -self._config.check_ns
        return True

    def _tell_expiry(self) -> None:
        """Every `check_ns`: what has expired, or will soon."""
        now_ns = self._wall_ns()
        if now_ns - self._said_at_ns < self._config.check_ns:
            return
        self._said_at_ns = now_ns
        for name in dict.fromkeys((self._config.server.cert_file, *self._certificates())):
            left_ns = expires_at_ns(name) - now_ns
            if left_ns < self._config.warning_ns:
                level = logging.ERROR if left_ns < self._config.error_ns else logging.WARNING
                when = f"expires in {left_ns / _DAY_NS:.1f} days" if left_ns > 0 else "has expired"
                _log.log(level, "the certificate %s %s: put a new one there, it is taken up by itself", name, when)

    def _certificates(self) -> list[str]:
        return [*(one.cert_file for one in self._config.host_overrides.values()), *self._config.client_ca_files]


def expires_at_ns(cert_file: str) -> int:
    """When the first of the file's certificates expires, in nanoseconds since the epoch. Raises TlsError."""
    try:
        from cryptography import x509
    except ImportError as error:
        raise TlsError(f"TLS needs more packages ({error.name} is missing): pip install 'perdure[server]'") from error
    try:
        found = x509.load_pem_x509_certificates(_bytes(cert_file))
    except ValueError as error:
        raise TlsError(f"{cert_file}: {error}") from error
    return round(min(one.not_valid_after_utc.timestamp() for one in found)) * 10**9


def _bytes(name: str) -> bytes:
    """Raises TlsError."""
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise TlsError(f"{name}: {error.strerror}") from error


def _looks(files: Sequence[str]) -> list[tuple[int, int, int] | None]:
    """By what a file is seen to be another: a link to another directory, as Kubernetes has it, as well."""
    found: list[tuple[int, int, int] | None] = []
    for name in files:
        try:
            state = os.stat(name)
        except OSError:
            found.append(None)
        else:
            found.append((state.st_mtime_ns, state.st_size, state.st_ino))
    return found


def _contexts(config: TlsConfig, protocol: str) -> dict[str, ssl.SSLContext]:
    """By host, "" for any other. Raises TlsError."""
    hosts = {"": config.server, **{name.lower(): one for name, one in config.host_overrides.items()}}
    return {name: _context(one, config, protocol) for name, one in hosts.items()}


def _context(certificate: Certificate, config: TlsConfig, protocol: str) -> ssl.SSLContext:
    """Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A session that is taken up again is not held against the certificates of today. Clients stay connected for long.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([protocol])
    expires_at_ns(certificate.cert_file)
    _bytes(certificate.key_file)
    try:
        context.load_cert_chain(certificate.cert_file, certificate.key_file, _refuse_password)
    except (OSError, ValueError) as error:
        why = "they do not fit each other" if "MISMATCH" in str(error) else str(error)
        raise TlsError(f"{certificate.cert_file} and {certificate.key_file}: {why}") from error
    for name in config.client_ca_files:
        expires_at_ns(name)
        try:
            context.load_verify_locations(name)
        except OSError as error:
            raise TlsError(f"{name}: {error}") from error
    if config.client_ca_files:
        context.verify_mode = ssl.CERT_REQUIRED if config.require_client_auth else ssl.CERT_OPTIONAL
    return context


def _refuse_password() -> str:
    raise ValueError("the key has a password: a server that starts by itself can ask nobody for it")
