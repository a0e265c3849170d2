"""Identifiers: UUIDs of version 7 (RFC 9562), whose order is the order of their making.

Run ids are keys of the store; ascending keys keep its B-trees dense.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from perdure.engine.node.clock import Clock

_NS_PER_MS = 1_000_000
_RANDOM_BITS = 73
_COUNT_BITS = 47
_COUNT_MASK = (1 << _COUNT_BITS) - 1
_VARIANT = 0x8000

_forks = [0]
"""How many forks lie between the first process and this one."""


def _forked() -> None:
    _forks[0] += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _system_bits(count: int) -> int:
    return int.from_bytes(os.urandom((count + 7) // 8), "big") & (1 << count) - 1


class TimeOrderedIds:
    """Call it for a fresh UUIDv7 in its usual spelling.

    Its 26 random bits are the process's own, and its other 48 count on from a random number (RFC 9562, 6.2): chance is
    asked for once, and what is made within one millisecond is in order too.

    `random_bits(n)` gives n random bits as an integer; the operating system's by default, because
    ids must not repeat in a process that was forked.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] = _system_bits) -> None:
        self._now_ns = clock.now_ns
        self._random_bits = random_bits
        self._made_after = -1
        self._middle = ""
        self._count = 0

    def __call__(self) -> str:
        stamp = self._now_ns() // _NS_PER_MS
        if self._made_after != _forks[0]:
            self._draw()
        self._count += 1
        return f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}{self._middle}{self._count:012x}"

    def _draw(self) -> None:
        """What makes the ids of this process its own. The count has room for as many as are ever made."""
        chance = self._random_bits(_RANDOM_BITS)
        self._count = chance & _COUNT_MASK
        chance >>= _COUNT_BITS
        self._middle = f"-7{chance >> 14:03x}-{_VARIANT | chance & 0x3FFF:04x}-"
        self._made_after = _forks[0]
