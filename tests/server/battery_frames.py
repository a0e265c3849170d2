"""Cases of frames and of the states of streams."""

from __future__ import annotations

from perdure.api.errors import StatusCode
from perdure.frontend.grpc import bounds, frames
from perdure.frontend.grpc.frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    frame,
    reset,
    settings,
    window_update,
)
from tests.server.battery import (
    CANCEL,
    EMPTY,
    FINE,
    GRPC,
    Answered,
    Case,
    Ended,
    Open,
    Reset,
    before_call,
    block,
    body,
    call,
    head,
    only,
    opening,
    poll,
    pseudo,
)
from tests.server.wire import grpc_message

STARTS = [
    Case("HTTP/1.1", only(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"), Ended(None)),
    Case("a preface with a wrong end", only(PREFACE[:-1] + b"x" + settings({})), Ended(None)),
    Case("PING before SETTINGS", only(PREFACE + frame(PING, 0, 0, bytes(8))), Ended(PROTOCOL_ERROR)),
    Case("HEADERS before SETTINGS", only(PREFACE + call(1)), Ended(PROTOCOL_ERROR)),
    Case("WINDOW_UPDATE before SETTINGS", only(PREFACE + window_update(0, 1)), Ended(PROTOCOL_ERROR)),
    Case("a GOAWAY before SETTINGS", only(PREFACE + frames.goaway(0, 0)), Ended(PROTOCOL_ERROR)),
    Case("an unknown frame before SETTINGS", only(PREFACE + frame(0x2A, 0, 0)), Ended(PROTOCOL_ERROR)),
    Case("an acknowledgement instead of SETTINGS", only(PREFACE + frame(SETTINGS, 1, 0)), Ended(PROTOCOL_ERROR)),
    Case("first SETTINGS on a stream", only(PREFACE + frame(SETTINGS, 0, 1)), Ended(PROTOCOL_ERROR)),
    Case("first SETTINGS of 5 bytes", only(PREFACE + frame(SETTINGS, 0, 0, bytes(5))), Ended(FRAME_SIZE_ERROR)),
    Case("the preface twice", only(PREFACE + settings({}) + PREFACE), Ended(FRAME_SIZE_ERROR)),
]
"""From the first byte of a connection on: 3.4."""

_LONG = b"\x7a\x80\x7f" + bytes(16_256)
"""A field that GetSystemInfoRequest has not, so that its message is of some size."""

FRAMES = [
    Case("a call", call, FINE),
    Case(
        "a frame of 16,384 bytes",
        lambda s: opening(s) + body(s, grpc_message(_LONG + b"\x7a\x74" + bytes(116)), 1),
        FINE,
    ),
    Case("DATA of 16,385 bytes", lambda s: opening(s) + frame(DATA, 0, s, bytes(16_385)), Ended(FRAME_SIZE_ERROR)),
    Case("HEADERS of 16,385 bytes", lambda s: frame(HEADERS, 4, s, bytes(16_385)), Ended(FRAME_SIZE_ERROR)),
    Case("an unknown frame of 16 MiB", only(b"\xff\xff\xff\x2a" + bytes(5)), Ended(FRAME_SIZE_ERROR)),
    Case("an unknown frame on the connection", before_call(frame(0x0A, 0xFF, 0, b"x")), FINE),
    Case("an unknown frame on a stream", lambda s: opening(s) + frame(0xFF, 0, s, b"x") + body(s), FINE),
    Case("an unknown frame on an idle stream", lambda s: frame(0x21, 0, s, b"x") + call(s), FINE),
    Case("an unknown frame on a closed stream", call, FINE, lambda s: frame(0x21, 0, s)),
    Case("the reserved bit of a stream", lambda s: frame(PING, 0, 1 << 31, bytes(8)) + call(s), FINE),
    Case("unknown flags of PING", before_call(frame(PING, 0xFE, 0, bytes(8))), FINE),
    Case("unknown flags of DATA", lambda s: opening(s) + body(s, flags=END_STREAM | 0xF6 & ~PADDED), FINE),
    Case("unknown flags of HEADERS", lambda s: head(s, pseudo() + GRPC, 0xC2) + body(s), FINE),
    Case("an empty DATA", lambda s: opening(s) + body(s, b"", 0) + body(s), FINE),
    Case("an end that is an empty DATA", lambda s: opening(s) + body(s, flags=0) + body(s, b""), FINE),
    Case("DATA with padding", lambda s: opening(s) + frame(DATA, PADDED | 1, s, b"\x07" + EMPTY + bytes(7)), FINE),
    Case("DATA that is all padding", lambda s: opening(s) + frame(DATA, PADDED, s, b"\x03" + bytes(3)) + body(s), FINE),
    Case(
        "DATA with padding as long as itself",
        lambda s: opening(s) + frame(DATA, PADDED, s, b"\x03ab"),
        Ended(PROTOCOL_ERROR),
    ),
    Case(
        "DATA with more padding than itself",
        lambda s: opening(s) + frame(DATA, PADDED, s, b"\xffab"),
        Ended(PROTOCOL_ERROR),
    ),
    Case("padded DATA without a length", lambda s: opening(s) + frame(DATA, PADDED, s), Ended(FRAME_SIZE_ERROR)),
    Case("DATA on the connection", only(frame(DATA, 0, 0, b"x")), Ended(PROTOCOL_ERROR)),
    Case(
        "HEADERS with padding",
        lambda s: frame(HEADERS, 0xC, s, b"\x05" + block(pseudo() + GRPC) + bytes(5)) + body(s),
        FINE,
    ),
    Case("HEADERS with priority", lambda s: frame(HEADERS, 0x24, s, bytes(5) + block(pseudo() + GRPC)) + body(s), FINE),
    Case(
        "HEADERS with priority and padding",
        lambda s: frame(HEADERS, 0x2C, s, b"\x02" + bytes(5) + block(pseudo() + GRPC) + bytes(2)) + body(s),
        FINE,
    ),
    Case(
        "HEADERS that depend on themselves",
        lambda s: frame(HEADERS, 0x24, s, s.to_bytes(4, "big") + b"\x10" + block(pseudo() + GRPC)) + body(s),
        FINE,
    ),
    Case(
        "HEADERS with more padding than there is", lambda s: frame(HEADERS, 0xC, s, b"\x05abcd"), Ended(PROTOCOL_ERROR)
    ),
    Case(
        "HEADERS with padding in their priority",
        lambda s: frame(HEADERS, 0x2C, s, b"\x02" + bytes(5) + b"\x82"),
        Ended(PROTOCOL_ERROR),
    ),
    Case("padded HEADERS without a length", lambda s: frame(HEADERS, 0xC, s), Ended(FRAME_SIZE_ERROR)),
    Case("HEADERS with half a priority", lambda s: frame(HEADERS, 0x24, s, bytes(4)), Ended(FRAME_SIZE_ERROR)),
    Case("padded HEADERS with half a priority", lambda s: frame(HEADERS, 0x2C, s, bytes(5)), Ended(FRAME_SIZE_ERROR)),
]
"""4 and 6.1, 6.2."""

CONTINUED = [
    Case(
        "a block in pieces",
        lambda s: (
            frame(HEADERS, 0, s, block(pseudo()))
            + frame(CONTINUATION, 0, s)
            + frame(CONTINUATION, 4, s, block(GRPC))
            + body(s)
        ),
        FINE,
    ),
    Case(
        "a block in pieces that is all",
        lambda s: frame(HEADERS, 1, s, block(pseudo())) + frame(CONTINUATION, 4, s, block(GRPC)),
        Answered(StatusCode.INTERNAL),
    ),
    Case("CONTINUATION of nothing", lambda s: frame(CONTINUATION, 4, s, block(GRPC)), Ended(PROTOCOL_ERROR)),
    Case(
        "CONTINUATION behind the end of a block",
        lambda s: opening(s) + frame(CONTINUATION, 4, s),
        Ended(PROTOCOL_ERROR),
    ),
    Case(
        "CONTINUATION on the connection",
        lambda s: frame(HEADERS, 0, s) + frame(CONTINUATION, 4, 0),
        Ended(PROTOCOL_ERROR),
    ),
    Case(
        "CONTINUATION on another stream",
        lambda s: frame(HEADERS, 0, s) + frame(CONTINUATION, 4, s + 2),
        Ended(PROTOCOL_ERROR),
    ),
    Case(
        "a block with PING in it", lambda s: frame(HEADERS, 0, s) + frame(PING, 0, 0, bytes(8)), Ended(PROTOCOL_ERROR)
    ),
    Case("a block with DATA in it", lambda s: frame(HEADERS, 0, s) + frame(DATA, 0, s), Ended(PROTOCOL_ERROR)),
    Case("a block with another in it", lambda s: frame(HEADERS, 0, s) + call(s + 2), Ended(PROTOCOL_ERROR)),
    Case(
        "a block with an unknown frame in it", lambda s: frame(HEADERS, 0, s) + frame(0x2A, 0, s), Ended(PROTOCOL_ERROR)
    ),
    Case(
        "a block of 64 KiB and more",
        lambda s: frame(HEADERS, 0, s) + frame(CONTINUATION, 0, s, bytes(16_384)) * 4 + frame(CONTINUATION, 0, s, b"x"),
        Ended(ENHANCE_YOUR_CALM),
    ),
    Case("PUSH_PROMISE", lambda s: frame(PUSH_PROMISE, 4, s, bytes(4)), Ended(PROTOCOL_ERROR)),
    Case(
        "PUSH_PROMISE on an open stream",
        lambda s: opening(s) + frame(PUSH_PROMISE, 4, s, bytes(4)),
        Ended(PROTOCOL_ERROR),
    ),
]
"""6.6 and 6.10."""

STATES = [
    Case("HEADERS on the connection", only(head(0, pseudo() + GRPC)), Ended(PROTOCOL_ERROR)),
    Case("HEADERS on an even stream", only(head(1000, pseudo() + GRPC)), Ended(PROTOCOL_ERROR)),
    Case("a number that was passed over", lambda s: call(s + 4) + call(s + 2), Ended(PROTOCOL_ERROR)),
    Case(
        "a number that was passed over long ago", lambda s: call(s + 4) + call(s + 6) + call(s), Ended(PROTOCOL_ERROR)
    ),
    Case("numbers with gaps", lambda s: call(s) + call(s + 100), FINE),
    Case("DATA on an idle stream", body, Ended(PROTOCOL_ERROR)),
    Case("DATA on an idle stream of ours", only(frame(DATA, 0, 2, b"x")), Ended(PROTOCOL_ERROR)),
    Case("RST_STREAM on an idle stream", lambda s: reset(s, CANCEL), Ended(PROTOCOL_ERROR)),
    Case("RST_STREAM on an idle stream of ours", only(reset(2, CANCEL)), Ended(PROTOCOL_ERROR)),
    Case("WINDOW_UPDATE on an idle stream", lambda s: window_update(s, 1), Ended(PROTOCOL_ERROR)),
    Case("WINDOW_UPDATE on an idle stream of ours", only(window_update(2, 1)), Ended(PROTOCOL_ERROR)),
    Case("DATA on a half closed stream", lambda s: poll(s) + body(s), Reset(STREAM_CLOSED)),
    Case("an empty DATA on a half closed stream", lambda s: poll(s) + body(s, b"", 0), Reset(STREAM_CLOSED)),
    Case(
        "HEADERS on a half closed stream", lambda s: poll(s) + head(s, [(b"x", b"y")], END_STREAM), Reset(STREAM_CLOSED)
    ),
    Case("a second request on a half closed stream", lambda s: poll(s) + poll(s), Reset(STREAM_CLOSED)),
    Case("CONTINUATION on a half closed stream", lambda s: poll(s) + frame(CONTINUATION, 4, s), Ended(PROTOCOL_ERROR)),
    Case("WINDOW_UPDATE on a half closed stream", lambda s: poll(s) + window_update(s, 1), Open()),
    Case("PRIORITY on a half closed stream", lambda s: poll(s) + frame(PRIORITY, 0, s, bytes(5)), Open()),
    Case("RST_STREAM on a half closed stream", lambda s: poll(s) + reset(s, CANCEL), Open()),
    Case("DATA on a closed stream", call, Reset(STREAM_CLOSED), body),
    Case("DATA on a closed stream, twice", call, Reset(STREAM_CLOSED), lambda s: body(s) + body(s)),
    Case("HEADERS on a closed stream", call, Ended(STREAM_CLOSED), lambda s: head(s, [(b"x", b"y")], END_STREAM)),
    Case("a second request on a closed stream", call, Ended(STREAM_CLOSED), call),
    Case("CONTINUATION on a closed stream", call, Ended(PROTOCOL_ERROR), lambda s: frame(CONTINUATION, 4, s)),
    Case("WINDOW_UPDATE on a closed stream", call, FINE, lambda s: window_update(s, 1)),
    Case("RST_STREAM on a closed stream", call, FINE, lambda s: reset(s, CANCEL)),
    Case("PRIORITY on a closed stream", call, FINE, lambda s: frame(PRIORITY, 0, s, bytes(5))),
    Case("DATA on a stream that it reset", lambda s: opening(s) + reset(s, CANCEL) + body(s), Reset(STREAM_CLOSED)),
    Case(
        "HEADERS on a stream that it reset",
        lambda s: opening(s) + reset(s, CANCEL) + head(s, [], 1),
        Reset(STREAM_CLOSED),
    ),
    Case("RST_STREAM twice", lambda s: poll(s) + reset(s, CANCEL) + reset(s, CANCEL), Open()),
    Case("WINDOW_UPDATE on a stream that it reset", lambda s: poll(s) + reset(s, CANCEL) + window_update(s, 1), Open()),
    Case(
        "DATA on a stream that we reset",
        lambda s: opening(s) + window_update(s, 0) + body(s) + body(s),
        Reset(PROTOCOL_ERROR),
    ),
    Case(
        "trailers on a stream that we reset",
        lambda s: opening(s) + window_update(s, 0) + head(s, [(b"x", b"y")], 1),
        Reset(PROTOCOL_ERROR),
    ),
    Case(
        "more of what was refused at once",
        lambda s: opening(s) + body(s, b"\0\xff\xff\xff\xff", 0) + body(s, bytes(100), 0) + body(s),
        Answered(StatusCode.RESOURCE_EXHAUSTED),
    ),
    Case(
        "trailers of what was refused at once",
        lambda s: opening(s) + body(s, b"\0\xff\xff\xff\xff", 0) + head(s, [(b"x", b"y")], 1),
        Answered(StatusCode.RESOURCE_EXHAUSTED),
    ),
]
"""5.1."""

PRIORITIES = [
    Case("PRIORITY on the connection", only(frame(PRIORITY, 0, 0, bytes(5))), Ended(PROTOCOL_ERROR)),
    Case("PRIORITY on an idle stream", lambda s: frame(PRIORITY, 0, s, bytes(5)) + call(s), FINE),
    Case("PRIORITY on an idle stream of ours", before_call(frame(PRIORITY, 0, 2, bytes(5))), FINE),
    Case("PRIORITY on an open stream", lambda s: opening(s) + frame(PRIORITY, 0, s, bytes(5)) + body(s), FINE),
    Case("PRIORITY of 4 bytes", lambda s: opening(s) + frame(PRIORITY, 0, s, bytes(4)), Reset(FRAME_SIZE_ERROR)),
    Case(
        "PRIORITY of 6 bytes on a half closed stream",
        lambda s: poll(s) + frame(PRIORITY, 0, s, bytes(6)),
        Reset(FRAME_SIZE_ERROR),
    ),
    Case("PRIORITY of 4 bytes on an idle stream", lambda s: frame(PRIORITY, 0, s, bytes(4)), Ended(FRAME_SIZE_ERROR)),
    Case(
        "PRIORITY of a stream on itself", lambda s: frame(PRIORITY, 0, s, s.to_bytes(4, "big") + b"\1") + call(s), FINE
    ),
]
"""5.3, 6.3."""

RESETS = [
    Case("RST_STREAM of 3 bytes", lambda s: opening(s) + frame(RST_STREAM, 0, s, bytes(3)), Ended(FRAME_SIZE_ERROR)),
    Case("RST_STREAM of 5 bytes", lambda s: opening(s) + frame(RST_STREAM, 0, s, bytes(5)), Ended(FRAME_SIZE_ERROR)),
    Case("RST_STREAM on the connection", only(frame(RST_STREAM, 0, 0, bytes(4))), Ended(PROTOCOL_ERROR)),
    Case("RST_STREAM of an unknown code", lambda s: poll(s) + reset(s, 0xDEAD), Open()),
]
"""6.4."""

GROWN = {frames.SETTING_INITIAL_WINDOW_SIZE: frames.WINDOW_MAX}

SETTINGS_CASES = [
    Case("SETTINGS on a stream", lambda s: opening(s) + frame(SETTINGS, 0, s), Ended(PROTOCOL_ERROR)),
    Case("SETTINGS of 7 bytes", only(frame(SETTINGS, 0, 0, bytes(7))), Ended(FRAME_SIZE_ERROR)),
    Case("an acknowledgement that says something", only(frame(SETTINGS, 1, 0, bytes(6))), Ended(FRAME_SIZE_ERROR)),
    Case("an acknowledgement of nothing", before_call(frame(SETTINGS, 1, 0)), FINE),
    Case("SETTINGS that say nothing", before_call(settings({})), FINE),
    Case("an unknown setting", before_call(settings({0x99: 0xFFFF_FFFF})), FINE),
    Case("ENABLE_PUSH=0", before_call(settings({frames.SETTING_ENABLE_PUSH: 0})), FINE),
    Case("ENABLE_PUSH=1", before_call(settings({frames.SETTING_ENABLE_PUSH: 1})), FINE),
    Case("ENABLE_PUSH=2", only(settings({frames.SETTING_ENABLE_PUSH: 2})), Ended(PROTOCOL_ERROR)),
    Case("MAX_CONCURRENT_STREAMS=0", before_call(settings({frames.SETTING_MAX_CONCURRENT_STREAMS: 0})), FINE),
    Case("HEADER_TABLE_SIZE=0", before_call(settings({1: 0})), FINE),
    Case("MAX_HEADER_LIST_SIZE=0", before_call(settings({frames.SETTING_MAX_HEADER_LIST_SIZE: 0})), FINE),
    Case("INITIAL_WINDOW_SIZE=2^31-1", before_call(settings(GROWN)), FINE),
    Case(
        "INITIAL_WINDOW_SIZE=2^31",
        only(settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 31})),
        Ended(FLOW_CONTROL_ERROR),
    ),
    Case("MAX_FRAME_SIZE=2^14", before_call(settings({frames.SETTING_MAX_FRAME_SIZE: 1 << 14})), FINE),
    Case(
        "MAX_FRAME_SIZE=2^14-1", only(settings({frames.SETTING_MAX_FRAME_SIZE: (1 << 14) - 1})), Ended(PROTOCOL_ERROR)
    ),
    Case("MAX_FRAME_SIZE=2^24-1", before_call(settings({frames.SETTING_MAX_FRAME_SIZE: (1 << 24) - 1})), FINE),
    Case("MAX_FRAME_SIZE=2^24", only(settings({frames.SETTING_MAX_FRAME_SIZE: 1 << 24})), Ended(PROTOCOL_ERROR)),
    Case(
        "the same setting twice, once badly",
        only(frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2\0\2\0\0\0\1")),
        Ended(PROTOCOL_ERROR),
    ),
    Case(
        "windows that grow beyond all bounds",
        lambda s: poll(s) + window_update(s, 1 << 30) + settings(GROWN),
        Ended(FLOW_CONTROL_ERROR),
    ),
    Case("windows that grow to the bound", lambda s: call(s) + settings(GROWN), FINE),
    Case(
        "windows that shrink and grow", lambda s: opening(s) + settings({4: 0}) + settings({4: 1 << 20}) + body(s), FINE
    ),
]
"""6.5, 6.9.2."""

CONNECTION = [
    Case("PING", before_call(frame(PING, 0, 0, b"12345678")), FINE),
    Case("an acknowledgement of no PING", before_call(frame(PING, 1, 0, b"12345678")), FINE),
    Case("PING of 7 bytes", only(frame(PING, 0, 0, bytes(7))), Ended(FRAME_SIZE_ERROR)),
    Case("PING of 9 bytes", only(frame(PING, 0, 0, bytes(9))), Ended(FRAME_SIZE_ERROR)),
    Case("PING on a stream", lambda s: opening(s) + frame(PING, 0, s, bytes(8)), Ended(PROTOCOL_ERROR)),
    Case("GOAWAY", before_call(frames.goaway(0, NO_ERROR)), FINE),
    Case("GOAWAY with words", before_call(frames.goaway(0, ENHANCE_YOUR_CALM, b"why")), FINE),
    Case("GOAWAY on a stream", lambda s: opening(s) + frame(GOAWAY, 0, s, bytes(8)), Ended(PROTOCOL_ERROR)),
    Case("GOAWAY of 4 bytes", only(frame(GOAWAY, 0, 0, bytes(4))), Ended(FRAME_SIZE_ERROR)),
    Case("GOAWAY of 7 bytes", only(frame(GOAWAY, 0, 0, bytes(7))), Ended(FRAME_SIZE_ERROR)),
    Case("WINDOW_UPDATE", before_call(window_update(0, 1)), FINE),
    Case("WINDOW_UPDATE with the reserved bit", before_call(frame(WINDOW_UPDATE, 0, 0, b"\x80\0\0\1")), FINE),
    Case("WINDOW_UPDATE by 0", only(window_update(0, 0)), Ended(PROTOCOL_ERROR)),
    Case("WINDOW_UPDATE of 3 bytes", only(frame(WINDOW_UPDATE, 0, 0, bytes(3))), Ended(FRAME_SIZE_ERROR)),
    Case("WINDOW_UPDATE of 5 bytes", only(frame(WINDOW_UPDATE, 0, 0, bytes(5))), Ended(FRAME_SIZE_ERROR)),
    Case("WINDOW_UPDATE beyond 2^31-1", only(window_update(0, frames.WINDOW_MAX)), Ended(FLOW_CONTROL_ERROR)),
    Case("WINDOW_UPDATE of a stream", lambda s: opening(s) + window_update(s, 1) + body(s), FINE),
    Case("WINDOW_UPDATE of a stream by 0", lambda s: opening(s) + window_update(s, 0), Reset(PROTOCOL_ERROR)),
    Case("WINDOW_UPDATE of a half closed stream by 0", lambda s: poll(s) + window_update(s, 0), Reset(PROTOCOL_ERROR)),
    Case(
        "WINDOW_UPDATE of a stream of 3 bytes",
        lambda s: opening(s) + frame(WINDOW_UPDATE, 0, s, bytes(3)),
        Ended(FRAME_SIZE_ERROR),
    ),
    Case(
        "WINDOW_UPDATE of a stream beyond 2^31-1",
        lambda s: opening(s) + window_update(s, frames.WINDOW_MAX),
        Reset(FLOW_CONTROL_ERROR),
    ),
    Case(
        "WINDOW_UPDATE of a half closed stream, step by step",
        lambda s: poll(s) + window_update(s, 1 << 30) * 2,
        Reset(FLOW_CONTROL_ERROR),
    ),
    Case(
        "more than a stream's window holds",
        lambda s: opening(s) + frame(DATA, 0, s, bytes(16_384)) * (bounds.STREAM_WINDOW // 16_384 + 1),
        Reset(FLOW_CONTROL_ERROR),
    ),
    Case(
        "padding beyond a stream's window",
        lambda s: opening(s) + frame(DATA, PADDED, s, b"\xff" + bytes(255)) * (bounds.STREAM_WINDOW // 256 + 1),
        Reset(FLOW_CONTROL_ERROR),
    ),
]
"""6.7 to 6.9."""

CASES = [*FRAMES, *CONTINUED, *STATES, *PRIORITIES, *RESETS, *SETTINGS_CASES, *CONNECTION]
