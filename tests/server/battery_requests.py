"""Cases of header blocks, of what requests may say, and of messages."""

from __future__ import annotations

import gzip
from collections.abc import Callable

from perdure.api.errors import StatusCode
from perdure.frontend.grpc import bounds, frames
from perdure.frontend.grpc.frames import (
    COMPRESSION_ERROR,
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    PADDED,
    PROTOCOL_ERROR,
    frame,
    literal,
)
from tests.server.battery import (
    EMPTY,
    FINE,
    GRPC,
    INFO,
    Answered,
    Case,
    Ended,
    Fields,
    Plain,
    Reset,
    asked,
    block,
    body,
    call,
    head,
    opening,
    pseudo,
    raw,
    trailed,
    typed,
    with_header,
    with_length,
    with_pseudo,
    without,
)
from tests.server.wire import grpc_message

BLOCKS = [
    Case("field 0", lambda s: raw(s, b"\x80"), Ended(COMPRESSION_ERROR)),
    Case("a field of an empty table", lambda s: raw(s, b"\xbe"), Ended(COMPRESSION_ERROR)),
    Case("a name of an empty table", lambda s: raw(s, b"\x7e\x01x"), Ended(COMPRESSION_ERROR)),
    Case("field 2,000,000,000", lambda s: raw(s, b"\xff\x81\xa8\xd6\xb9\x07"), Ended(COMPRESSION_ERROR)),
    Case("a number without its end", lambda s: raw(s, b"\xff"), Ended(COMPRESSION_ERROR)),
    Case("a number that goes on", lambda s: raw(s, b"\xff" + b"\x80" * 20 + b"\x01"), Ended(COMPRESSION_ERROR)),
    Case("a name without its end", lambda s: raw(s, b"\x00\x05abc"), Ended(COMPRESSION_ERROR)),
    Case("a name without a value", lambda s: raw(s, b"\x00\x01a"), Ended(COMPRESSION_ERROR)),
    Case("a value without its end", lambda s: raw(s, b"\x00\x01a\x05bcd"), Ended(COMPRESSION_ERROR)),
    Case("a value of 4 GiB", lambda s: raw(s, b"\x00\x01a\x7f\x80\xff\xff\xff\x0f"), Ended(COMPRESSION_ERROR)),
    Case("the end-of-string symbol", lambda s: raw(s, b"\x00\x84\xff\xff\xff\xff\x00"), Ended(COMPRESSION_ERROR)),
    Case("padding of 8 bits", lambda s: raw(s, b"\x00\x82\x1f\xff\x00"), Ended(COMPRESSION_ERROR)),
    Case("padding of zeros", lambda s: raw(s, b"\x00\x81\x18\x00"), Ended(COMPRESSION_ERROR)),
    Case("a table of 4,097 bytes", lambda s: raw(s, b"\x3f\xe2\x1f" + block(pseudo())), Ended(COMPRESSION_ERROR)),
    Case("a table that changes within a block", lambda s: raw(s, b"\x82\x20"), Ended(COMPRESSION_ERROR)),
    Case(
        "a table that changes at the end of a block",
        lambda s: raw(s, block(pseudo()) + b"\x20"),
        Ended(COMPRESSION_ERROR),
    ),
    Case("a table of 0 bytes", lambda s: frame(HEADERS, 4, s, b"\x20" + block(pseudo() + GRPC)) + body(s), FINE),
    Case(
        "a table of 0 and 4,096 bytes",
        lambda s: frame(HEADERS, 4, s, b"\x20\x3f\xe1\x1f" + block(pseudo() + GRPC)) + body(s),
        FINE,
    ),
    Case(
        "trailers that cannot be read", lambda s: opening(s) + frame(HEADERS, 5, s, b"\xbe"), Ended(COMPRESSION_ERROR)
    ),
    Case(
        "trailers of a closed stream that cannot be read",
        call,
        Ended(COMPRESSION_ERROR),
        lambda s: frame(HEADERS, 5, s, b"\xbe"),
    ),
    Case(
        "a block that is malformed and cannot be read",
        lambda s: raw(s, literal(b"A", b"b") + b"\xbe"),
        Ended(COMPRESSION_ERROR),
    ),
    Case(
        "fields that are never to be indexed",
        lambda s: frame(HEADERS, 4, s, block(pseudo() + GRPC) + b"\x10\x01a\x01b") + body(s),
        FINE,
    ),
    Case("a block of nothing", lambda s: raw(s, b""), Reset(PROTOCOL_ERROR)),
]
"""RFC 7541."""

_NAMES = {
    "in upper case": b"X-Name",
    "with one letter in upper case": b"x-namE",
    "that is empty": b"",
    "with a space": b"x name",
    "that is a space": b" ",
    "with a tab": b"x\tname",
    "with a colon in it": b"x:name",
    "with a NUL": b"x\0name",
    "with a CR": b"x\rname",
    "with a LF": b"x\nname",
    "with a DEL": b"x\x7fname",
    "that is not ASCII": b"x\xc3\xa9",
    "with a bracket": b"x(name)",
    "with a slash": b"x/name",
    "with a quote": b'x"name',
    "with an at sign": b"x@name",
}
_VALUES = {
    "a NUL": b"a\0b",
    "a CR": b"a\rb",
    "a LF": b"a\nb",
    "another header in it": b"a\r\nx-admin: yes",
    "a space before it": b" a",
    "a space behind it": b"a ",
    "a tab before it": b"\ta",
    "a tab behind it": b"a\t",
    "nothing but a space": b" ",
    "a LF at its end": b"a\n",
}
_MALFORMED = Reset(PROTOCOL_ERROR)

FIELDS = [
    *(Case(f"a name {what}", with_header(name, b"v"), _MALFORMED) for what, name in _NAMES.items()),
    *(Case(f"a value with {what}", with_header(b"x-name", value), _MALFORMED) for what, value in _VALUES.items()),
    *(
        Case(f"a path with {what}", with_pseudo(b":path", b"/" + value), _MALFORMED)
        for what, value in _VALUES.items()
        if "before" not in what
    ),
    Case("an authority with a LF", with_pseudo(b":authority", b"a\nb"), _MALFORMED),
    Case("a method with a space", with_pseudo(b":method", b"POST /x"), _MALFORMED),
    Case("a scheme with a NUL", with_pseudo(b":scheme", b"ht\0tp"), _MALFORMED),
    Case("a pseudo-header in upper case", asked([(b":Method", b"POST"), *pseudo()[1:], *GRPC]), _MALFORMED),
    Case("a name of all that it may be", with_header(b"x!#$%&'*+-.^_`|~09az", b"v"), FINE),
    Case("a long name", with_header(b"x" * 300, b"v"), FINE),
    Case("a value with spaces within", with_header(b"x-name", b"a b\tc"), FINE),
    Case("a value that is empty", with_header(b"x-name", b""), FINE),
    Case("a value that is not UTF-8", with_header(b"x-name", b"\xff\xfe\x80"), FINE),
    Case("a binary value", with_header(b"x-name-bin", b"AAEC"), FINE),
    Case("a header twice", lambda s: call(s, [(b"x-name", b"a"), (b"x-name", b"b")]), FINE),
    *(
        Case(f"{name.decode()}", with_header(name, value), _MALFORMED)
        for name, value in (
            (b"connection", b"close"),
            (b"keep-alive", b"timeout=5"),
            (b"proxy-connection", b"keep-alive"),
            (b"transfer-encoding", b"chunked"),
            (b"upgrade", b"h2c"),
        )
    ),
    Case("te: gzip", asked([*pseudo(), (b"content-type", b"application/grpc"), (b"te", b"gzip")]), _MALFORMED),
    Case(
        "te: trailers, gzip",
        asked([*pseudo(), (b"content-type", b"application/grpc"), (b"te", b"trailers, gzip")]),
        _MALFORMED,
    ),
    Case("te: nothing", asked([*pseudo(), (b"content-type", b"application/grpc"), (b"te", b"")]), _MALFORMED),
    Case("te: trailers, and te: gzip", with_header(b"te", b"gzip"), _MALFORMED),
    Case("no te", without(b"te"), FINE),
]
"""8.2."""

PSEUDO = [
    *(Case(f"no {name.decode()}", without(name), _MALFORMED) for name in (b":method", b":scheme", b":path")),
    Case("no :authority", without(b":authority"), FINE),
    *(Case(f"{name.decode()} twice", asked([*pseudo(), (name, value), *GRPC]), _MALFORMED) for name, value in pseudo()),
    Case("two paths", asked([*pseudo(), (b":path", b"/other"), *GRPC]), _MALFORMED),
    Case("two paths, the other first", asked([(b":path", b"/other"), *pseudo(), *GRPC]), _MALFORMED),
    Case("two authorities", asked([*pseudo(), (b":authority", b"y"), *GRPC]), _MALFORMED),
    *(
        Case(
            f"{name.decode()} behind a header",
            asked([*(f for f in pseudo() if f[0] != name), *GRPC, (name, value)]),
            _MALFORMED,
        )
        for name, value in pseudo()
    ),
    *(
        Case(f"{name.decode()!r}", asked([*pseudo(), (name, b"200"), *GRPC]), _MALFORMED)
        for name in (b":status", b":protocol", b":foo", b":", b":path ")
    ),
    Case("an empty method", with_pseudo(b":method", b""), _MALFORMED),
    Case("an empty scheme", with_pseudo(b":scheme", b""), _MALFORMED),
    Case("an empty path", with_pseudo(b":path", b""), _MALFORMED),
    Case("a path without its slash", with_pseudo(b":path", INFO[1:]), _MALFORMED),
    Case("the path of everything", with_pseudo(b":path", b"*"), _MALFORMED),
    Case("a path that is not UTF-8", with_pseudo(b":path", b"/\xff"), Answered(StatusCode.UNIMPLEMENTED)),
    Case("a path of nobody", with_pseudo(b":path", b"/no.such.Service/Method"), Answered(StatusCode.UNIMPLEMENTED)),
    Case("an authority with a user in it", with_pseudo(b":authority", b"user@x"), _MALFORMED),
    Case("a host that is the authority", with_header(b"host", b"X"), FINE),
    Case("a host that is another", with_header(b"host", b"y"), _MALFORMED),
    Case("a host alone", asked([*pseudo()[:3], (b"host", b"y"), *GRPC]), FINE),
    Case("two hosts", asked([*pseudo()[:3], (b"host", b"y"), (b"host", b"y"), *GRPC]), _MALFORMED),
]
"""8.3."""

MEANINGS = [
    Case("content-length", with_length(b"5"), FINE),
    Case("content-length with zeros", with_length(b"0005"), FINE),
    Case(
        "content-length of a padded body",
        lambda s: (
            head(s, [*pseudo(), *GRPC, (b"content-length", b"5")])
            + frame(DATA, PADDED | 1, s, b"\x03" + EMPTY + bytes(3))
        ),
        FINE,
    ),
    Case("content-length that is too small", with_length(b"4"), _MALFORMED),
    Case("content-length that is too large", with_length(b"6"), _MALFORMED),
    Case(
        "content-length that is too small, told before the end",
        lambda s: head(s, [*pseudo(), *GRPC, (b"content-length", b"4")]) + body(s, flags=0),
        _MALFORMED,
    ),
    Case(
        "content-length of two frames",
        lambda s: head(s, [*pseudo(), *GRPC, (b"content-length", b"6")]) + body(s, EMPTY[:3], 0) + body(s, EMPTY[3:]),
        _MALFORMED,
    ),
    Case(
        "content-length of no body",
        lambda s: head(s, [*pseudo(), *GRPC, (b"content-length", b"5")], END_STREAM),
        _MALFORMED,
    ),
    Case(
        "content-length 0 of no body",
        lambda s: head(s, [*pseudo(), *GRPC, (b"content-length", b"0")], END_STREAM),
        Answered(StatusCode.INTERNAL),
    ),
    Case(
        "content-length before trailers",
        lambda s: head(s, [*pseudo(), *GRPC, (b"content-length", b"6")]) + body(s, flags=0) + head(s, [], END_STREAM),
        _MALFORMED,
    ),
    *(
        Case(f"content-length {value.decode()!r}", with_length(value), _MALFORMED)
        for value in (b"-5", b"+5", b"5,5", b"0x5", b"5.0", b"", b"five", b"9" * 40, b"9" * 5_000)
    ),
    Case("content-length twice", lambda s: call(s, [(b"content-length", b"5")] * 2), _MALFORMED),
    Case("two content-lengths", lambda s: call(s, [(b"content-length", b"5"), (b"content-length", b"6")]), _MALFORMED),
    *(
        Case(f"content-type {value.decode()!r}", typed(value), FINE)
        for value in (
            b"application/grpc",
            b"application/grpc+proto",
            b"application/grpc;charset=utf-8",
            b"Application/gRPC",
        )
    ),
    *(
        Case(f"content-type {value.decode()!r}", typed(value), Plain(415))
        for value in (
            b"application/grpcfoo",
            b"application/grpc-web",
            b"application/grpc-web+proto",
            b"application/json",
            b"text/plain",
            b"",
        )
    ),
    Case("no content-type", without(b"content-type"), Plain(415)),
    Case("content-type twice", with_header(b"content-type", b"application/grpc"), _MALFORMED),
    *(
        Case(f"{method.decode()}", asked([*pseudo(method=method), *GRPC]), Plain(405))
        for method in (b"GET", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"post", b"BREW")
    ),
    Case("HEAD", asked([*pseudo(method=b"HEAD"), *GRPC]), Plain(405, has_body=False)),
    Case("GET without a body", lambda s: head(s, pseudo(b"/", b"GET"), END_STREAM), Plain(405)),
    Case(
        "GET with a body of half a mebibyte",
        lambda s: head(s, pseudo(b"/", b"GET")) + body(s, bytes(1 << 19), 0),
        Plain(405),
    ),
    Case("OPTIONS of everything", lambda s: head(s, pseudo(b"*", b"OPTIONS"), END_STREAM), Plain(405)),
    Case("GET that is malformed", lambda s: head(s, [*pseudo(b"/", b"GET"), (b"A", b"b")], END_STREAM), _MALFORMED),
    Case(
        "GET with trailers that do not end it",
        lambda s: head(s, pseudo(b"/", b"GET")) + head(s, [(b"x", b"y")]),
        _MALFORMED,
    ),
    Case("CONNECT", lambda s: head(s, [(b":method", b"CONNECT"), (b":authority", b"x:1")]), Plain(405)),
    Case("CONNECT with a path", lambda s: head(s, pseudo(b"/", b"CONNECT")), _MALFORMED),
    Case("CONNECT to nobody", lambda s: head(s, [(b":method", b"CONNECT")]), _MALFORMED),
    Case("grpc-timeout twice", lambda s: call(s, [(b"grpc-timeout", b"1S")] * 2), _MALFORMED),
    Case("grpc-timeout that is none", with_header(b"grpc-timeout", b"soon"), FINE),
    Case(
        "grpc-encoding twice",
        lambda s: call(s, [(b"grpc-encoding", b"gzip"), (b"grpc-encoding", b"identity")]),
        _MALFORMED,
    ),
    Case("grpc-encoding that is not UTF-8", with_header(b"grpc-encoding", b"\xff"), FINE),
]
"""8.1.1, and what a request means to gRPC."""

TRAILERS = [
    Case("trailers", trailed([(b"x-checksum", b"1")]), FINE),
    Case("trailers of nothing", trailed([]), FINE),
    Case("trailers that do not end the stream", trailed([(b"x", b"y")], 0), _MALFORMED),
    Case("trailers with a pseudo-header", trailed([(b":path", b"/x")]), _MALFORMED),
    Case("trailers with a status", trailed([(b":status", b"200")]), _MALFORMED),
    Case("trailers with a name in upper case", trailed([(b"X", b"y")]), _MALFORMED),
    Case("trailers with a LF in them", trailed([(b"x", b"y\nz")]), _MALFORMED),
    Case("trailers of a connection", trailed([(b"connection", b"close")]), _MALFORMED),
    Case("trailers that are too large", trailed([(b"x", b"y" * 40_000)]), _MALFORMED),
    Case("trailers instead of a body", lambda s: opening(s) + head(s, [], END_STREAM), Answered(StatusCode.INTERNAL)),
]
"""8.1."""


def _padded(size: int) -> Fields:
    """Headers of so many bytes, as 6.5.2 counts them, with those of a call."""
    used = sum(len(name) + len(value) + 32 for name, value in pseudo() + GRPC)
    return [(b"x-large", b"x" * (size - used - 32 - len(b"x-large")))]


def _swelling(times: int) -> bytes:
    """A call's headers, and one of 4 KiB that is put into the table and said again and again."""
    return block(pseudo() + GRPC) + b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4_000 + b"\xbe" * times


_REFUSED = Answered(StatusCode.RESOURCE_EXHAUSTED)

LARGE = [
    Case("headers of 32 KiB", lambda s: call(s, _padded(bounds.HEADER_LIST_BYTES_MAX)), FINE),
    Case("headers of 32 KiB and a byte", lambda s: call(s, _padded(bounds.HEADER_LIST_BYTES_MAX + 1)), _REFUSED),
    Case("headers of 60 KiB", lambda s: call(s, _padded(60 << 10)), _REFUSED),
    Case(
        "headers of 60 KiB, one by one", lambda s: call(s, [(b"x-%d" % at, b"y" * 100) for at in range(500)]), _REFUSED
    ),
    Case("headers that are small and many", lambda s: call(s, [(b"a", b"")] * 2_000), _REFUSED),
    Case("headers of 60 KiB, and no body yet", lambda s: head(s, pseudo() + GRPC + _padded(60 << 10)), _REFUSED),
    Case("headers that swell to 80 KiB", lambda s: frame(HEADERS, 4, s, _swelling(20)), _REFUSED),
    Case("headers that swell to 160 KiB", lambda s: frame(HEADERS, 4, s, _swelling(40)), Ended(ENHANCE_YOUR_CALM)),
    Case(
        "headers that swell to 160 MiB",
        lambda s: frames.header_frames(s, _swelling(40_000), 0, frames.FRAME_BYTES_MAX),
        Ended(ENHANCE_YOUR_CALM),
    ),
    Case("headers of 64 KiB", lambda s: call(s, _padded(66 << 10)), Ended(ENHANCE_YOUR_CALM)),
    Case("headers that are large and malformed", lambda s: call(s, [*_padded(60 << 10), (b"A", b"b")]), _REFUSED),
    Case("headers of 60 KiB with GET", lambda s: head(s, pseudo(b"/", b"GET") + _padded(60 << 10)), Plain(431)),
]
"""10.5.1: the call is refused, and the tables stay in step."""

_PACKED = gzip.compress(b"")
_GZIP = [(b"grpc-encoding", b"gzip")]
_INTERNAL = Answered(StatusCode.INTERNAL)


def _gzipped(data: bytes) -> Callable[[int], bytes]:
    return lambda s: call(s, _GZIP, grpc_message(data, packed=True))


GRPCS = [
    Case("no message", lambda s: call(s, data=b""), _INTERNAL),
    Case("half a prefix", lambda s: call(s, data=b"\0\0\0"), _INTERNAL),
    Case("half a message", lambda s: call(s, data=b"\0\0\0\0\x05ab"), _INTERNAL),
    Case("two messages", lambda s: call(s, data=EMPTY * 2), _INTERNAL),
    Case("two messages, one frame each", lambda s: opening(s) + body(s, flags=0) + body(s), _INTERNAL),
    Case("two messages, and noise", lambda s: opening(s) + body(s, EMPTY * 2, 0) + body(s, b"\xff" * 99), _INTERNAL),
    Case("many messages", lambda s: opening(s) + body(s, EMPTY * 100_000), _INTERNAL),
    Case("bytes that are no message", lambda s: call(s, data=grpc_message(b"\xff")), _INTERNAL),
    Case("a message of 4 GiB", lambda s: call(s, data=b"\0\xff\xff\xff\xff"), _REFUSED),
    Case("a message that begins with 2", lambda s: call(s, data=b"\2" + EMPTY[1:]), _INTERNAL),
    Case(
        "a compressed message without an encoding",
        lambda s: call(s, data=grpc_message(_PACKED, packed=True)),
        _INTERNAL,
    ),
    Case(
        "a compressed message of an unknown encoding",
        lambda s: call(s, [(b"grpc-encoding", b"br")], grpc_message(b"", packed=True)),
        Answered(StatusCode.UNIMPLEMENTED),
    ),
    Case("a message that is not compressed, with gzip", lambda s: call(s, _GZIP), FINE),
    Case("gzip", _gzipped(_PACKED), FINE),
    Case("gzip without its checksum", _gzipped(_PACKED[:-8]), _INTERNAL),
    Case("gzip without its last byte", _gzipped(_PACKED[:-1]), _INTERNAL),
    Case("gzip with a wrong checksum", _gzipped(_PACKED[:-8] + b"\1" + _PACKED[-7:]), _INTERNAL),
    Case("gzip with a wrong length", _gzipped(_PACKED[:-1] + b"\1"), _INTERNAL),
    Case("gzip of nothing", _gzipped(b""), _INTERNAL),
    Case("gzip, and more", _gzipped(_PACKED + b"x"), _INTERNAL),
    Case("gzip, twice", _gzipped(_PACKED * 2), _INTERNAL),
    Case("gzip of 100 MB", _gzipped(gzip.compress(bytes(100_000_000))), _REFUSED),
    Case("gzip of exactly 4 MiB", _gzipped(gzip.compress(b"\x7a\xfb\xff\xff\x01" + bytes((4 << 20) - 5))), FINE),
]
"""gRPC over HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)."""

CASES = [*BLOCKS, *FIELDS, *PSEUDO, *MEANINGS, *TRAILERS, *LARGE, *GRPCS]
