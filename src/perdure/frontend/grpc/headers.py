"""What the headers of a request say, and whether they may say it (RFC 9113, 8.1 to 8.3).

Behind a proxy many clients share a connection, and the proxy may let them pass by what it reads in their
headers. So whatever could be read in two ways is refused: a path that is said twice, a name in upper
case, a value with a line's end in it. It is the request alone that is malformed, not its connection.

A client's calls carry the same headers again and again, and after the first few each of them is one
byte that points into a table. So a block is read and checked once for every state of that table: what was
seen before is looked up, as long as the table has not changed since.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from perdure.frontend.calls import Trace
from perdure.frontend.grpc import bounds
from perdure.frontend.grpc.blocks import Blocks, Field

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_OF_HTTP_1 = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
"""They speak of a connection, which HTTP/2 has no words for (8.2.2)."""
_ONCE = frozenset({b"host", b"content-type", b"content-length", b"grpc-timeout", b"grpc-encoding", b"authorization"})
"""Headers that are read here, or by a proxy, and mean one thing."""
_TRACING = frozenset({b"traceparent", b"x-request-id"})
"""Headers that say nothing of what is asked: of one that is said twice the first counts, and no call fails for it."""
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
"""Of a field (8.2.1; RFC 9110, 5.6.2)."""
_BAD_VALUE = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_LENGTH_DIGITS_MAX = 18

_GRPC = re.compile(rb"application/grpc([+;].*)?", re.IGNORECASE | re.DOTALL)
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT_DIGITS_MAX = 8

NOT_ALLOWED = 405
NOT_GRPC = 415
TOO_LARGE = 431


class Malformed(Exception):
    """A request, or its trailers, are none: the stream ends with a PROTOCOL_ERROR."""


class Head(NamedTuple):
    """What the headers of a request say."""

    path: str
    timeout_s: float | None
    encoding: str
    is_grpc: bool
    """A POST of gRPC's content type."""
    refusal: int = 0
    """The status of HTTP for what is no call, 0 for a call. A call, too, is none when its headers are too large."""
    has_body: bool = True
    """Its answer has one, as every answer but the one to a HEAD."""
    is_awaited: bool = True
    """What is refused is heard to its end: it may be malformed. But a CONNECT has none, nor have headers too large."""
    content_length: int | None = None
    """What the client says its request has, in bytes."""
    authorization: str = ""
    trace: Trace | None = None


class Headers:
    """Of one connection."""

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """What a request's block says. Raises Malformed, Broken."""
        call = self._known.get(block)
        if call is not None:
            return call
        before = self._blocks.changes
        fields, is_whole = self._blocks.read(block)
        if before != self._blocks.changes:
            self._known.clear()
        call = _call(fields) if is_whole else _too_large(fields)
        if (
            before == self._blocks.changes
            and len(self._known) < bounds.BLOCKS_KNOWN_MAX
            and len(block) <= bounds.BLOCK_KNOWN_BYTES_MAX
        ):
            self._known[block] = call
        return call

    def check_trailers(self, block: bytes) -> None:
        """Read the block behind a request's body: nothing in it concerns us. Raises Malformed, Broken."""
        before = self._blocks.changes
        fields, is_whole = self._blocks.read(block)
        if before != self._blocks.changes:
            self._known.clear()
        if not is_whole:
            raise Malformed("trailers that are too large")
        for name, value in fields:
            _check(name, value)


def _check(name: bytes, value: bytes) -> None:
    """Of what is no pseudo-header. Raises Malformed."""
    if not _NAME.fullmatch(name):
        raise Malformed(f"{name[:80]!r} is not the name of a header")
    if name in _OF_HTTP_1 or (name == b"te" and value.lower() != b"trailers"):
        raise Malformed(f"{name.decode()} is not for HTTP/2")
    if _BAD_VALUE.search(value):
        raise Malformed(f"{name[:80].decode()} has a value that no header may have")


def _said(fields: Iterable[Field]) -> dict[bytes, bytes]:
    """The fields that are read here, each said once. Raises Malformed."""
    said: dict[bytes, bytes] = {}
    is_behind = False
    for name, value in fields:
        if name[:1] == b":":
            if name not in _PSEUDO:
                raise Malformed(f"{name[:80]!r} is not for requests")
            if is_behind:
                raise Malformed(f"{name.decode()} comes behind the headers")
            if _BAD_VALUE.search(value):
                raise Malformed(f"{name.decode()} has a value that no header may have")
        else:
            is_behind = True
            _check(name, value)
            if name in _TRACING:
                said.setdefault(name, value)
                continue
            if name not in _ONCE:
                continue
        if name in said:
            raise Malformed(f"{name.decode()} is said twice")
        said[name] = value
    return said


def _check_target(said: dict[bytes, bytes], method: bytes) -> None:
    """What is asked, and of whom (8.3.1, 8.5). Raises Malformed."""
    authority, host = said.get(b":authority"), said.get(b"host")
    path = said.get(b":path", b"")
    if method == b"CONNECT":
        if not authority or b":path" in said or b":scheme" in said:
            raise Malformed("CONNECT has an authority, and nothing else")
    elif not said.get(b":scheme") or not (path.startswith(b"/") or (path == b"*" and method == b"OPTIONS")):
        raise Malformed("a request has a method, a scheme and a path")
    if authority is not None and (b"@" in authority or (host is not None and host.lower() != authority.lower())):
        raise Malformed("the authority names a user, or the host another one")


def _call(fields: Iterable[Field]) -> Head:
    """Raises Malformed."""
    said = _said(fields)
    method = said.get(b":method", b"")
    if not _NAME.fullmatch(method.lower()):
        raise Malformed("a request has a method, a scheme and a path")
    _check_target(said, method)
    content_length = None
    if (digits := said.get(b"content-length")) is not None:
        if not digits.isdigit() or len(digits) > _LENGTH_DIGITS_MAX:
            raise Malformed("content-length is no length")
        content_length = int(digits)
    is_post = method == b"POST"
    is_grpc = is_post and _GRPC.fullmatch(said.get(b"content-type", b"")) is not None
    return Head(
        said.get(b":path", b"").decode("latin-1"),
        timeout_s(said[b"grpc-timeout"].decode("latin-1")) if b"grpc-timeout" in said else None,
        said.get(b"grpc-encoding", b"identity").decode("latin-1"),
        is_grpc,
        0 if is_grpc else NOT_GRPC if is_post else NOT_ALLOWED,
        method != b"HEAD",
        method != b"CONNECT",
        content_length,
        said.get(b"authorization", b"").decode("latin-1"),
        _trace(said),
    )


def _trace(said: Mapping[bytes, bytes]) -> Trace | None:
    traceparent, request_id = said.get(b"traceparent", b""), said.get(b"x-request-id", b"")
    if not traceparent and not request_id:
        return None
    return Trace(traceparent.decode("latin-1"), request_id.decode("latin-1"))


def _too_large(fields: Iterable[Field]) -> Head:
    """A list without its end: who asked in gRPC is answered in gRPC, if that can still be seen."""
    is_grpc = any(name == b"content-type" and _GRPC.fullmatch(value) for name, value in fields)
    return Head("", None, "identity", is_grpc, TOO_LARGE, is_awaited=False)


def timeout_s(value: str) -> float | None:
    """Seconds of a `grpc-timeout`, such as `70000m`; None for what is none."""
    digits, unit = value[:-1], value[-1:]
    if unit not in _UNITS or not digits.isdecimal() or len(digits) > _TIMEOUT_DIGITS_MAX:
        return None
    return int(digits) * _UNITS[unit]
