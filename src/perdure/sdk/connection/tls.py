"""How a client trusts a server, and shows who it is: fields and meaning as in Temporal's SDKs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.sdk.errors import EngineError

Pem = bytes | str | os.PathLike[str]
"""PEM, or the path of a file of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSConfig:
    """TLS of a client's connection, beyond what "grpcs://" alone says: the certificates that this machine trusts.

    Args:
        server_root_ca_cert: who signed the server's certificate, PEM or a path; None: whom this machine trusts.
        domain: the name that the server's certificate must have, if it is not the URL's host.
        client_cert, client_private_key: what the client shows of itself (mTLS), PEM or paths; both or none.

    Raises:
        ValueError: one of the last two without the other.
    """

    server_root_ca_cert: Pem | None = None
    domain: str | None = None
    client_cert: Pem | None = None
    client_private_key: Pem | None = None

    def __post_init__(self) -> None:
        if (self.client_cert is None) != (self.client_private_key is None):
            raise ValueError("TLSConfig: client_cert and client_private_key go together: give both, or neither")


def pem_of(value: Pem | None, what: str) -> bytes | None:
    """The bytes of a PEM. Raises EngineError that names the file."""
    if value is None or isinstance(value, bytes):
        return value
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise EngineError(f"TLSConfig: {what}: {value}: {error.strerror}") from error


def checked_tls(url: str, tls: object, api_key: object) -> tuple[TLSConfig | None, str | None]:
    """The two as a user gave them for this URL. Raises ValueError for what would be unsafe, or does not fit the URL."""
    is_tls = url.startswith("grpcs://")
    if tls is not None and not isinstance(tls, TLSConfig):
        raise ValueError(f"tls= is {tls!r}; write perdure.TLSConfig(...), or nothing for what this machine trusts")
    if tls is not None and not is_tls:
        raise ValueError(f"tls= needs a URL that says TLS: write grpcs://, not {url!r}")
    if api_key is None:
        return tls, None
    key: Any = api_key
    if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("api_key= should be the text of a key, without spaces")
    if not url.startswith(("grpc://", "grpcs://")):
        raise ValueError(f"api_key= is for servers (grpcs://host:7233); {url!r} is none")
    if not is_tls and not _is_loopback(url):
        raise ValueError(f"{url!r} would send the API key so that everybody on the way can read it: write grpcs://")
    return tls, key


def _is_loopback(url: str) -> bool:
    host = url.removeprefix("grpc://")
    return host.startswith(("127.", "localhost:", "[::1]")) or host in ("localhost", "::1")
