"""Identifiers: UUIDs of version 7 (RFC 9562), whose order is the order of their making.

Run ids are keys of the store; ascending keys keep its B-trees dense.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from perdure.engine.clock import Clock

_NS_PER_MS = 1_000_000
_RANDOM_BITS = 74
_LOW_BITS = 62
_LOW_MASK = (1 << _LOW_BITS) - 1
_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_BYTES = 10
_STOCK = 128


class SystemEntropy:
    """The operating system's random bits, fetched for many ids at once: a system call each is the price of the rest.

    A forked process fetches its own.
    """

    def __init__(self) -> None:
        self._stock: list[int] = []
        self._owner = 0

    def __call__(self, bits: int) -> int:
        """So many random bits as an integer, at most 80."""
        if not self._stock or self._owner != os.getpid():
            data = os.urandom(_STOCK * _BYTES)
            self._stock = [int.from_bytes(data[at : at + _BYTES], "big") for at in range(0, len(data), _BYTES)]
            self._owner = os.getpid()
        return self._stock.pop() >> 8 * _BYTES - bits


class TimeOrderedIds:
    """Call it for a fresh UUIDv7 in its usual spelling.

    `random_bits(n)` gives n random bits as an integer; the operating system's by default, because
    ids must not repeat in a process that was forked.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] | None = None) -> None:
        self._now_ns = clock.now_ns
        self._random_bits = random_bits or SystemEntropy()

    def __call__(self) -> str:
        chance = self._random_bits(_RANDOM_BITS)
        stamp = self._now_ns() // _NS_PER_MS
        value = stamp << 80 | _VERSION | (chance >> _LOW_BITS) << 64 | _VARIANT | (chance & _LOW_MASK)
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
