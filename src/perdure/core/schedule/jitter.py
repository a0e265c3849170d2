"""How far a nominal time is shifted: by chance, but by the same chance every time it is asked for.

The shift depends on the schedule and on the nominal time alone, and is computed as Temporal's server computes it: the
32-bit FarmHash fingerprint of both, scaled to the jitter in milliseconds. So a schedule that moves from a Temporal
server to this one keeps its times, as long as the namespace keeps its id.
"""

from __future__ import annotations

from perdure.api.times import NS_PER_MS

_MASK = 0xFFFFFFFF
_C1, _C2, _C3 = 0xCC9E2D51, 0x1B873593, 0xE6546B64
_WORD, _BLOCK = 4, 20
_YEAR_ONE_S = 62_135_596_800
"""Seconds from the first day of year 1 to 1970: Go counts its times from there."""


def shift_ns(seed: bytes, nominal_s: int, jitter_ns: int) -> int:
    """From 0 up to, but not including, `jitter_ns`, in whole milliseconds. `seed` has at least ten bytes."""
    stamp = b"\x01" + (nominal_s + _YEAR_ONE_S).to_bytes(8, "big") + b"\0\0\0\0\xff\xff"
    return (fingerprint(stamp + seed) * (jitter_ns // NS_PER_MS) >> 32) * NS_PER_MS


def fingerprint(data: bytes) -> int:
    """FarmHash's `Fingerprint32` of more than 24 bytes (farmhashmk: public domain method of G. Pike, J. Alakuijala)."""
    size = len(data)
    if size <= 24:
        raise ValueError(f"{size} bytes: the method for so few is another one")
    h, g = size, _C1 * size & _MASK
    f = g
    ends = [_rotate(_word(data, size - back) * _C1, 17) * _C2 & _MASK for back in (4, 8, 16, 12, 20)]
    h = _blend(_blend(h, ends[0]), ends[2])
    g = _blend(_blend(g, ends[1]), ends[3])
    f = _rotate(f + ends[4], 19) + 113
    for block in range((size - 1) // _BLOCK):
        a, b, c, d, e = (_word(data, block * _BLOCK + at) for at in range(0, _BLOCK, _WORD))
        h, g, f = h + a, g + b, f + c
        h, g, f = _murmur(d, h) + e, _murmur(c, g) + a, _murmur(b + e * _C1, f) + d
        f += g
        g += f
    g = _rotate(_rotate(g, 11) * _C1, 17) * _C1
    f = _rotate(_rotate(f, 11) * _C1, 17) * _C1
    h = _rotate(_scale(_rotate(h + g, 19)), 17) * _C1
    h = _rotate(_scale(_rotate(h + f, 19)), 17) * _C1
    return h & _MASK


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _WORD], "little")


def _rotate(value: int, bits: int) -> int:
    value &= _MASK
    return (value >> bits | value << (32 - bits)) & _MASK


def _scale(value: int) -> int:
    return value * 5 + _C3


def _blend(value: int, word: int) -> int:
    return _scale(_rotate(value ^ word, 19)) & _MASK


def _murmur(word: int, value: int) -> int:
    word = _rotate(word * _C1, 17) * _C2 & _MASK
    return _scale(_rotate(value & _MASK ^ word, 19)) & _MASK
