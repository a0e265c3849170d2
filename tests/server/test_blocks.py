"""Header blocks, beside the library's own decoder as the model; and what becomes of both sides' tables."""

from __future__ import annotations

import random

import pytest
from hpack import Decoder, Encoder, HPACKError
from hypothesis import given
from hypothesis import strategies as st

from perdure.frontend.grpc import bounds
from perdure.frontend.grpc.blocks import Blocks, Field
from perdure.frontend.grpc.frames import COMPRESSION_ERROR, Broken, literal
from perdure.frontend.grpc.headers import Headers, Malformed

FIELDS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a/b"),
    (b":authority", b"x"),
    (b"content-type", b"application/grpc"),
]
NAMES = st.sampled_from([b"x-a", b"x-b", b":path", b"te", b"content-type"]) | st.binary(max_size=20)
LISTS = st.lists(st.tuples(NAMES, st.binary(max_size=100) | st.just(b"x" * 4_000)), max_size=8)
TABLES = st.none() | st.sampled_from([0, 32, 100, 1_000, 4_096])


@given(st.lists(st.tuples(LISTS, TABLES, st.booleans()), max_size=8))
def test_blocks_are_read_as_they_were_written(lists: list[tuple[list[Field], int | None, bool]]) -> None:
    encoder, blocks = Encoder(), Blocks()
    for fields, table, is_packed in lists:
        if table is not None:
            encoder.header_table_size = table
        assert blocks.read(encoder.encode(fields, huffman=is_packed)) == (fields, True)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_noise_is_read_as_the_library_reads_it(written: list[bytes]) -> None:
    model, blocks = Decoder(), Blocks()
    for block in written:
        try:
            expected = [(bytes(name), bytes(value)) for name, value in model.decode(block, raw=True)]
        except (HPACKError, IndexError):
            with pytest.raises(Broken) as error:
                blocks.read(block)
            assert error.value.code == COMPRESSION_ERROR
            return
        assert blocks.read(block) == (expected, True)


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_every_block_cut_short_is_broken_or_means_less(seed: int, size: int) -> None:
    chance = random.Random(seed)
    fields = [(chance.randbytes(3), chance.randbytes(size)) for _ in range(3)]
    block = Encoder().encode(fields, huffman=chance.random() < 0.5)
    for end in range(len(block)):
        try:
            read, _ = Blocks().read(block[:end])
        except Broken:
            continue
        assert read == fields[: len(read)]
        assert len(read) < len(fields)


def test_a_list_that_is_too_long_leaves_the_tables_in_step() -> None:
    encoder, blocks = Encoder(), Blocks()
    large = [(b"x-%d" % at, b"y" * 1_000) for at in range(100)]
    read, is_whole = blocks.read(encoder.encode([*FIELDS, *large, (b"x-last", b"1")]))
    assert not is_whole
    assert read == [*FIELDS, *large][: len(read)], "the first of them are told"
    assert sum(len(name) + len(value) + 32 for name, value in read) <= bounds.HEADER_LIST_BYTES_MAX
    later = [*large[-3:], (b"x-last", b"1"), *FIELDS]
    assert blocks.read(encoder.encode(later)) == (later, True), "the newest of them are in the table"


def test_what_was_read_before_is_read_anew_when_the_table_has_lost_it() -> None:
    headers, encoder = Headers(), Encoder()
    headers.read(encoder.encode(FIELDS))
    known = encoder.encode(FIELDS)
    assert headers.read(known) is headers.read(known), "known by heart"
    headers.read(b"\x20\x3f\xe1\x1f" + b"".join(literal(name, value) for name, value in FIELDS))
    with pytest.raises(Broken) as error:
        headers.read(known)
    assert error.value.code == COMPRESSION_ERROR


def test_what_was_read_before_is_read_anew_when_trailers_moved_the_table() -> None:
    headers, encoder = Headers(), Encoder()
    headers.read(encoder.encode(FIELDS))
    known = encoder.encode(FIELDS)
    assert headers.read(known).path == "/a/b"
    headers.check_trailers(encoder.encode([(b"x", b"y"), (b"x", b"z")]))
    with pytest.raises(Malformed):  # its numbers mean other fields now
        headers.read(known)
    assert headers.read(encoder.encode(FIELDS)).path == "/a/b", "the tables are in step"


def test_what_was_read_before_is_read_anew_when_a_malformed_request_moved_the_table() -> None:
    headers, encoder = Headers(), Encoder()
    headers.read(encoder.encode(FIELDS))
    known = encoder.encode(FIELDS)
    assert headers.read(known).path == "/a/b"
    with pytest.raises(Malformed):
        headers.read(encoder.encode([*FIELDS, (b":path", b"/other"), (b":authority", b"y")]))
    with pytest.raises(Malformed):  # its numbers mean other fields now
        headers.read(known)
    assert headers.read(encoder.encode(FIELDS)).path == "/a/b", "the tables are in step"


def test_a_call_is_known_by_heart_while_its_table_stands() -> None:
    headers, encoder = Headers(), Encoder()
    first = headers.read(encoder.encode(FIELDS))
    block = encoder.encode(FIELDS)
    second = headers.read(block)
    assert first == second
    assert headers.read(block) is second
    headers.check_trailers(literal(b"x", b"y"))
    assert headers.read(block) is second, "a literal changes nothing"


def test_a_block_that_adds_to_the_table_adds_each_time() -> None:
    headers = Headers()
    adding = b"".join(literal(name, value) for name, value in FIELDS) + b"\x40\x01a\x01b"
    headers.read(adding)
    headers.read(adding)
    headers.check_trailers(b"\xbe\xbf")  # both are there
    with pytest.raises(Broken):
        headers.check_trailers(b"\xc0")
