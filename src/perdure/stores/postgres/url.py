"""What the URL of a PostgreSQL store says.

    postgresql://user:password@host:5432/database?schema=perdure&sslmode=verify-full&pgbouncer=true

Beside what libpq knows (`sslmode`, several hosts, ...; `target_session_attrs` is `primary` unless it is said):

* `schema`: where the tables are, default `perdure`;
* `pgbouncer=true`: connections go through a pooler in transaction mode, so nothing is kept in a session;
* `listen`: a URL, percent-encoded, of the database itself, for notices, where `pgbouncer=true`;
* `connections`: how many of them read at a time, default 4;
* `timeout`: seconds that a statement may take, default 10;
* `connect_timeout`: seconds that a connection may take to come about, default 5.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from perdure.stores.api import StoreError
from perdure.stores.sql.options import boolean, positive, read_option, seconds

_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_EXAMPLE = "`postgresql://user@localhost:5432/orders`"
_PASSWORD = re.compile(r"(?<=://)([^/?#]*@)")


@dataclass(slots=True, frozen=True)
class Settings:
    """Times in seconds."""

    dsn: str
    """What the driver is told."""
    shown: str
    """The URL without its password."""
    schema: str
    is_pooled: bool
    listen_dsn: str | None
    """Where notices are heard; None: nowhere."""
    readers: int
    timeout_s: float
    connect_timeout_s: float


def shown(url: str) -> str:
    """A URL as it may be read by anybody: without password, whether it stands before the host or behind."""
    parts = urlsplit(_PASSWORD.sub(_without_password, url))
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("password", "listen")]
    return urlunsplit(parts._replace(query=urlencode(kept)))


def _without_password(found: re.Match[str]) -> str:
    return found[1].split(":")[0].rstrip("@") + "@"


def read_url(url: str) -> Settings:
    """The settings. Raises StoreError that names what is not understood, and never the password."""
    name = shown(url)
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise StoreError(f"The store URL {name!r} is not understood ({error}): write {_EXAMPLE}.") from error
    if parts.fragment:
        raise StoreError(f"The store URL {name!r} is not understood: `#` is written %23.")
    own = {option: value for option, value in options if option in _OWN}
    schema = own.get("schema", "perdure")
    if not _SCHEMA.fullmatch(schema):
        raise StoreError(f"The store URL {name!r} names the schema {schema!r}: use letters, digits and _, 63 at most.")
    is_pooled = read_option(own, "pgbouncer", "false", name, boolean)
    for_driver = [(option, value) for option, value in options if option not in _OWN]
    if _WHO not in dict(options) and _WHO_VARIABLE not in os.environ:
        for_driver.append((_WHO, "primary"))  # a stand-by takes no commits, and what it has read is of a moment ago
    rest = urlencode(for_driver)
    dsn = urlunsplit(parts._replace(scheme="postgresql", query=rest))
    listen = own.get("listen") or None
    return Settings(
        dsn=dsn,
        shown=name,
        schema=schema,
        is_pooled=is_pooled,
        listen_dsn=_listened(listen, name) if is_pooled else dsn,
        readers=read_option(own, "connections", "4", name, positive),
        timeout_s=read_option(own, "timeout", "10", name, seconds),
        connect_timeout_s=read_option(own, "connect_timeout", "5", name, seconds),
    )


def _listened(listen: str | None, name: str) -> str | None:
    """The database's own URL; its percent-encoding is gone by now, but for what its parts have in themselves."""
    if listen is not None and not listen.startswith(_SCHEMES):
        raise StoreError(f"The store URL {name!r} says in `listen` what is no URL: percent-encode {_EXAMPLE}.")
    return listen


_SCHEMES = ("postgresql://", "postgres://")
_WHO, _WHO_VARIABLE = "target_session_attrs", "PGTARGETSESSIONATTRS"
_OWN = ("schema", "pgbouncer", "listen", "connections", "timeout", "connect_timeout")
