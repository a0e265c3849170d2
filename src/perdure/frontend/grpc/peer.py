"""Who is at the other end of a connection, as far as the socket and the handshake say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, cast

ALPN = "h2"
"""What both sides of TLS must agree to (RFC 9113, 3.2)."""

_SHORT = {
    "commonName": "CN", "localityName": "L", "stateOrProvinceName": "ST", "organizationName": "O",
    "organizationalUnitName": "OU", "countryName": "C", "streetAddress": "STREET", "domainComponent": "DC",
    "userId": "UID",
}  # fmt: skip
"""RFC 4514, 3."""
_SPECIAL = re.compile(r'^[ #]|[,+"\\<>;]| $|\0')


def address_of(transport: asyncio.BaseTransport) -> str:
    """Where the client is; see `address_text`."""
    return address_text(transport.get_extra_info("peername"))


def address_text(peer: object) -> str:
    """`host:port`, an IPv6 host in brackets; "" when the socket is gone, or is no network's."""
    if not isinstance(peer, tuple):
        return ""
    host, port = cast("tuple[str, int]", peer[:2])
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def agrees(transport: asyncio.BaseTransport) -> bool:
    """Whether the client means to speak HTTP/2: without TLS it does, with it it has to say so."""
    handshake = transport.get_extra_info("ssl_object")
    return handshake is None or handshake.selected_alpn_protocol() == ALPN


def subject_of(transport: asyncio.BaseTransport) -> str:
    """Of the certificate that the client showed and that was verified, as RFC 4514 writes it; "" without one."""
    certificate: Any = transport.get_extra_info("peercert")
    return distinguished(certificate.get("subject", ())) if certificate else ""


def distinguished(subject: Sequence[Sequence[tuple[str, str]]]) -> str:
    """A name as `ssl.SSLSocket.getpeercert` has it, as text: the last part first (RFC 4514, 2.1)."""
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part) for part in subject[::-1]
    )


def _escaped(value: str) -> str:
    """RFC 4514, 2.4."""
    return _SPECIAL.sub(lambda found: "\\00" if found[0] == "\0" else "\\" + found[0], value)
