"""Identifiers: UUIDs of version 7 (RFC 9562), whose order is the order of their making.

Run ids are keys of the store; ascending keys keep its B-trees dense.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from perdure.engine.clock import Clock

_NS_PER_MS = 1_000_000
_RANDOM_BITS = 74
_LOW_BITS = 62
_LOW_MASK = (1 << _LOW_BITS) - 1
_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62


class TimeOrderedIds:
    """Call it for a fresh UUIDv7 in its usual spelling.

    `random_bits(n)` gives n random bits as an integer; the operating system's by default, because
    ids must not repeat in a process that was forked or restored from a snapshot.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] | None = None) -> None:
        self._now_ns = clock.now_ns
        self._random_bits = random_bits or random.SystemRandom().getrandbits

    def __call__(self) -> str:
        chance = self._random_bits(_RANDOM_BITS)
        stamp = self._now_ns() // _NS_PER_MS
        value = stamp << 80 | _VERSION | (chance >> _LOW_BITS) << 64 | _VARIANT | (chance & _LOW_MASK)
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
