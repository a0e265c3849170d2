"""What the URL of a MySQL or MariaDB store says.

    mysql://user:password@host:3306/database?ssl_mode=verify-full&ssl_ca=/etc/ssl/db.pem

`mariadb://` means the same. Options:

* `ssl_mode`: `disabled`, `required` (encrypted, whoever answers), `verify-ca`, `verify-full`; default `disabled`, and
  `verify-full` when `ssl_ca` is named;
* `ssl_ca`, `ssl_cert`, `ssl_key`: files;
* `unix_socket`: a socket's path, in the place of host and port;
* `connections`: how many of them read at a time, default 4;
* `timeout`: seconds that a statement may take, default 10;
* `connect_timeout`: seconds that a connection may take to come about, default 5.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from perdure.stores.api import StoreError
from perdure.stores.sql.options import positive, read_option, seconds

_EXAMPLE = "`mysql://user:password@localhost:3306/orders`"
_OPTIONS = (
    *("ssl_mode", "ssl_ca", "ssl_cert", "ssl_key"),
    *("unix_socket", "connections", "timeout", "connect_timeout"),
)
_SSL_MODES = ("disabled", "required", "verify-ca", "verify-full")
PORT = 3306


@dataclass(slots=True, frozen=True)
class Settings:
    """Times in seconds."""

    shown: str
    """The URL without its password."""
    host: str
    port: int
    unix_socket: str | None
    user: str
    password: str
    database: str
    tls: ssl.SSLContext | None
    readers: int
    timeout_s: float
    connect_timeout_s: float


def shown(url: str) -> str:
    """A URL as it may be read by anybody: without password, even one that is not percent-encoded, and options."""
    scheme, mark, rest = url.partition("?")[0].partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{user.partition(':')[0]}{at}{place}"


def read_url(url: str) -> Settings:
    """The settings. Raises StoreError that names what is not understood, and never the password."""
    name = shown(url)
    try:
        parts = urlsplit(url)
        port = parts.port or PORT
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:  # whose text may have a piece of the password
        raise StoreError(
            f"The store URL {name!r} is not understood: write {_EXAMPLE}, special characters as `%2F`."
        ) from None
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise StoreError(
            f"The store URL {name!r} has an unknown option {unknown[0]!r}: there are {', '.join(_OPTIONS)}."
        )
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database or parts.fragment:
        raise StoreError(f"The store URL {name!r} names no database: write {_EXAMPLE}.")
    return Settings(
        shown=name,
        host=parts.hostname or "localhost",
        port=port,
        unix_socket=options.get("unix_socket"),
        user=unquote(parts.username or "root"),
        password=unquote(parts.password or ""),
        database=database,
        tls=_tls(options, name),
        readers=read_option(options, "connections", "4", name, positive),
        timeout_s=read_option(options, "timeout", "10", name, seconds),
        connect_timeout_s=read_option(options, "connect_timeout", "5", name, seconds),
    )


def _tls(options: dict[str, str], name: str) -> ssl.SSLContext | None:
    authority = options.get("ssl_ca")
    mode = options.get("ssl_mode", "verify-full" if authority else "disabled")
    if mode not in _SSL_MODES:
        raise StoreError(f"The store URL {name!r} says ssl_mode={mode}: there are {', '.join(_SSL_MODES)}.")
    if mode == "disabled":
        return None
    try:
        context = ssl.create_default_context(cafile=authority)
        context.check_hostname = mode == "verify-full"
        context.verify_mode = ssl.CERT_NONE if mode == "required" else ssl.CERT_REQUIRED
        if "ssl_cert" in options:
            context.load_cert_chain(options["ssl_cert"], options.get("ssl_key"))
    except OSError as error:  # of ssl too
        raise StoreError(f"The store URL {name!r} names certificates that cannot be read: {error}.") from error
    return context
