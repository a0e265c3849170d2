"""Streams of one connection are strangers to each other: they may be different clients' of one proxy.

Whatever one of them does wrong within its stream, the calls beside it are answered, and nothing of it is kept.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from google.protobuf.message import Message
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.api.errors import StatusCode
from perdure.frontend.grpc import bounds, frames
from perdure.frontend.grpc.frames import Broken, frame
from perdure.frontend.grpc.receiving import Event, Receiver, Reply
from perdure.frontend.grpc.stream import Stream
from tests.server import battery_frames, battery_requests
from tests.server.bare import bare
from tests.server.battery import GRPC, Ended, Fields, Open, body, call, head, opening, poll, pseudo, verify
from tests.server.test_hostile_clients import Hostile, turns
from tests.server.wire import Heard, Wire, grpc_message

CASES = [*battery_frames.CASES, *battery_requests.CASES]
OF_A_STREAM = [
    case
    for case in CASES
    if not isinstance(case.expected, Ended) and case.then is None and len(case.send(3)) < 300_000
    if case not in battery_frames.SETTINGS_CASES and not case.name.startswith("a table")
]
"""What changes nothing for the connection."""
REFLECTION = b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
QUESTION = ServerReflectionRequest(list_services="")
APART = 200
"""Between the numbers of two cases."""


@settings(max_examples=30)
@given(st.lists(st.sampled_from(OF_A_STREAM), min_size=1, max_size=6))
def test_neighbours_of_whatever_goes_wrong_on_a_stream_are_answered(cases: list[battery_frames.Case]) -> None:
    async def scenario() -> None:
        async with bare() as here:
            wire = await here.wire()
            earlier = [1 + 2 * at for at in range(len(cases))]
            wire.send(*(opening(stream) for stream in earlier))
            later, ends = list[int](), set(earlier)
            for at, case in enumerate(cases):
                its = 101 + APART * at
                wire.send(case.send(its), body(earlier[at]), call(its + APART - 50))
                later.append(its + APART - 50)
                if not isinstance(case.expected, Open):
                    ends.add(its)
            heard = await wire.listen(ends | set(later), Heard())
            assert {heard.headers[stream]["grpc-status"] for stream in (*earlier, *later)} == {"0"}
            for at, case in enumerate(cases):
                verify(case.expected, 101 + APART * at, heard)
            await gone(wire)
            assert (here.transport.unsent, here.transport.buffered, here.polls) == (0, 0, 0), "nothing is kept"

    asyncio.run(scenario())


async def gone(wire: Wire) -> None:
    """The connection is over, here and there."""
    wire.send(frames.window_update(0, 0))
    await wire.end()
    await turns(5)


GOOD = pseudo() + GRPC
BAD: dict[str, Fields] = {
    "upper case": [*GOOD, (b"X-A", b"b")],
    "two paths": [*pseudo(), (b":path", b"/other"), *GRPC],
    "a LF": [*GOOD, (b"x-a", b"b\nc")],
    "no path": [*pseudo()[:2], *GRPC],
    "too large": [*GOOD, *((b"x-%d" % at, b"y" * 900) for at in range(40))],
}


@given(st.lists(st.tuples(st.sampled_from([*BAD, "", ""]), st.booleans()), min_size=1, max_size=8))
def test_tables_stay_in_step_whatever_becomes_of_a_request(asked: list[tuple[str, bool]]) -> None:
    async def scenario() -> None:
        async with bare() as here:
            wire = await here.wire()
            for at, (fault, is_packed) in enumerate(asked):
                fields = BAD.get(fault, [*GOOD, (b"x-number", b"%d" % at)])
                block = wire.encoder.encode(fields, huffman=is_packed)
                wire.send(frames.header_frames(2 * at + 1, block, 0, frames.FRAME_BYTES_MAX), body(2 * at + 1))
            streams = range(1, 2 * len(asked), 2)
            heard = await wire.listen(set(streams), Heard())
            for stream, (fault, _) in zip(streams, asked, strict=True):
                status = heard.headers.get(stream, {}).get("grpc-status")
                assert status == {"": "0", "too large": "8"}.get(fault), fault

    asyncio.run(scenario())


class Told(NamedTuple):
    """Of a request, by events behind each other: how many they are depends on how the bytes come."""

    stream_id: int
    added: int
    padding: int
    is_open: bool
    data: bytes


def told(event: Event) -> object:
    """What an event says when it comes."""
    if isinstance(event, Stream):
        return Told(event.stream_id, event.added, event.padding, event.is_open, bytes(event.data))
    return (type(event), *((one.stream_id if isinstance(one, Stream) else one) for one in event))


def events(*pieces: bytes) -> list[object]:
    receiver, found = Receiver(), list[object]()
    try:
        for piece in pieces:
            for event in receiver.receive(piece):
                now = told(event)  # at once: a stream goes on changing
                before = found[-1] if found else None
                if isinstance(now, Told) and isinstance(before, Told) and now.stream_id == before.stream_id:
                    added, padding = before.added + now.added, before.padding + now.padding
                    found[-1] = now._replace(added=added, padding=padding)
                    continue
                found.append(now)
    except Broken as error:
        found.append((error.code, str(error)))
    return found


SHORT = [case for case in CASES if case.then is None and len(case.send(3)) < 2_000]


@given(st.lists(st.sampled_from(SHORT), min_size=1, max_size=3), st.data())
def test_bytes_mean_the_same_however_they_are_cut(cases: list[battery_frames.Case], data: st.DataObject) -> None:
    said = frames.PREFACE + frames.settings({})
    said += b"".join(case.send(101 + APART * at) for at, case in enumerate(cases))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=20)))
    pieces = [said[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    assert events(*pieces) == events(said)


def test_a_call_that_comes_whole_is_one_event() -> None:
    receiver = Receiver()
    list(receiver.receive(frames.PREFACE + frames.settings({})))
    of_one = opening(1) + frame(frames.DATA, 0, 1, b"12345") + frame(frames.DATA, frames.END_STREAM, 1)
    of_another = opening(3) + frame(frames.DATA, 0, 3, b"6789")
    assert [told(event) for event in receiver.receive(of_one + of_another + opening(5))] == [
        Told(1, 5, 0, False, b"12345"),
        Told(3, 4, 0, True, b"6789"),
        Told(5, 0, 0, True, b""),
    ]


def test_a_preface_may_come_in_pieces() -> None:
    said = frames.PREFACE + frames.settings({})
    for end in range(len(said)):
        assert events(said[:end], said[end:]) == events(said)


def test_the_window_of_the_connection_is_renewed_by_whatever_came() -> None:
    receiver = Receiver()
    list(receiver.receive(frames.PREFACE + frames.settings({}) + opening(1) + opening(3) + frames.reset(3, 8)))
    whole = frame(frames.DATA, 0, 1, bytes(16_384))
    padded = frame(frames.DATA, frames.PADDED, 1, b"\xff" + bytes(16_383))
    on_a_closed_stream = frame(frames.DATA, 0, 3, bytes(16_384))
    told, rounds = 0, 80
    for event in receiver.receive((whole + padded + on_a_closed_stream) * rounds):
        if isinstance(event, Reply):
            assert event.data[:9] == frames.window_update(0, 0)[:9]
            told += int.from_bytes(event.data[9:], "big")
    assert rounds * 3 * 16_384 - told < bounds.CREDIT_BYTES


def test_streams_that_a_client_has_us_reset_leave_nothing_behind() -> None:
    async def scenario() -> None:
        async with bare() as here:
            client = Hostile(here.transport)
            for stream in range(1, 4_001, 2):
                client.send(poll(stream), frames.window_update(stream, 0))
                await turns(1)
            assert (len(client.connection.streams), client.connection.running) == (0, 0)
            assert len(client.connection.ready) < 2 * bounds.GIVEN_UP_MAX
            await turns(20)
            assert (here.polls, here.transport.buffered) == (0, 0)
            client.connection.connection_lost(None)

    asyncio.run(scenario())


# --- conversations --------------------------------------------------------------------------------


def questions(stream: int, *asked: Message | bytes, flags: int = 0) -> bytes:
    return body(stream, b"".join(grpc_message(one) for one in asked), flags)


def test_a_conversation_that_is_refused_ends_behind_its_answers() -> None:
    async def scenario() -> None:
        async with bare() as here:
            client = Hostile(here.transport)
            client.send(head(1, pseudo(REFLECTION) + GRPC), questions(1, QUESTION))
            await turns(5)
            assert client.connection.unsent, "its client takes nothing yet"
            client.send(body(1, b"\0\xff\xff\xff\xff", 0))
            await turns(5)
            client.send(body(1, bytes(100_000), 0))
            assert not client.connection.streams[1].data, "nobody needs it"
            client.send(frames.window_update(1, 1 << 20))
            await turns(5)
            assert client.socket.sent(frames.DATA), "the answer"
            assert b"grpc-status\x018" in client.socket.sent(frames.HEADERS)[-1], "and why there is no other"
            assert (client.connection.unsent, client.connection.streams) == (0, {})

    asyncio.run(scenario())


def test_a_conversation_may_not_end_within_a_message() -> None:
    async def scenario() -> None:
        async with bare() as here:
            wire = await here.wire()
            wire.send(head(1, pseudo(REFLECTION) + GRPC), body(1, grpc_message(QUESTION)[:-1]))
            heard = await wire.listen({1}, Heard())
            assert heard.headers[1]["grpc-status"] == str(int(StatusCode.INTERNAL))

    asyncio.run(scenario())


def test_questions_that_nobody_has_taken_are_counted_and_their_window_is_closed() -> None:
    async def scenario() -> None:
        async with bare() as here:
            client = Hostile(here.transport)
            client.send(head(1, pseudo(REFLECTION) + GRPC))
            large = grpc_message(bytes(1 << 20))
            client.send(body(1, large * 4, 0))
            assert here.transport.buffered == 4 * len(large)
            client.send(body(1, large, 0))
            await turns(2)
            (reset,) = client.socket.sent(frames.RST_STREAM)
            assert int.from_bytes(reset, "big") == frames.FLOW_CONTROL_ERROR
            assert here.transport.buffered == 0

    asyncio.run(scenario())


def test_a_conversation_is_given_back_what_it_used_of_its_window() -> None:
    async def scenario() -> None:
        async with bare() as here:
            client = Hostile(here.transport)
            client.send(frames.settings({frames.SETTING_INITIAL_WINDOW_SIZE: 1 << 20}))
            client.send(head(1, pseudo(REFLECTION) + GRPC))
            stream = client.connection.streams[1]
            payload = b"\x64" + grpc_message(QUESTION) + bytes(100)
            client.send(frame(frames.DATA, frames.PADDED, 1, payload) * 3)
            assert stream.room == bounds.STREAM_WINDOW - 3 * len(grpc_message(QUESTION)), "the padding is nobody's"
            await turns(20)
            assert len(client.socket.sent(frames.DATA)) == 3
            assert stream.room == bounds.STREAM_WINDOW
            told = [int.from_bytes(increment, "big") for increment in client.socket.sent(frames.WINDOW_UPDATE)]
            assert sum(told[1:]) == 3 * len(payload), "beside the greeting's"
            assert here.transport.buffered == 0, "while it goes on"
            client.connection.connection_lost(None)

    asyncio.run(scenario())
