"""Identifiers: UUIDs of version 7 (RFC 9562), whose order is the order of their making.

Run ids are keys of the store; ascending keys keep its B-trees dense.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from perdure.engine.node.clock import Clock

_NS_PER_MS = 1_000_000
_RANDOM_BITS = 74
_LAST_MASK = (1 << 48) - 1
_VARIANT = 0x8000
_BYTES = 10
_STOCK = 128

_forks = [0]
"""How many forks lie between the first process and this one."""


def _forked() -> None:
    _forks[0] += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class SystemEntropy:
    """The operating system's random bits, fetched for many ids at once: a system call each is the price of the rest.

    A forked process fetches its own.
    """

    def __init__(self) -> None:
        self._stock: list[int] = []
        self._made_after = 0

    def __call__(self, bits: int) -> int:
        """So many random bits as an integer, at most 80."""
        if not self._stock or self._made_after != _forks[0]:
            data = os.urandom(_STOCK * _BYTES)
            self._stock = [int.from_bytes(data[at : at + _BYTES], "big") for at in range(0, len(data), _BYTES)]
            self._made_after = _forks[0]
        return self._stock.pop() >> 8 * _BYTES - bits


class TimeOrderedIds:
    """Call it for a fresh UUIDv7 in its usual spelling.

    `random_bits(n)` gives n random bits as an integer; the operating system's by default, because
    ids must not repeat in a process that was forked.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] | None = None) -> None:
        self._now_ns = clock.now_ns
        self._random_bits = random_bits or SystemEntropy()
        self._stamp = -1
        self._head = ""

    def __call__(self) -> str:
        stamp = self._now_ns() // _NS_PER_MS
        if stamp != self._stamp:
            self._stamp = stamp
            self._head = f"{stamp >> 16:08x}-{stamp & 0xFFFF:04x}"
        chance = self._random_bits(_RANDOM_BITS)
        return f"{self._head}-7{chance >> 62:03x}-{_VARIANT | chance >> 48 & 0x3FFF:04x}-{chance & _LAST_MASK:012x}"
