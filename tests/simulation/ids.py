"""Ids from a seed: the same program is given the same run ids, in the same order."""

from __future__ import annotations

import uuid
from hashlib import blake2b


class SeededIds:
    """Calling it gives the next UUID (version 7 in form), the same sequence for the same seed."""

    def __init__(self, seed: object) -> None:
        self._seed = seed
        self._given = 0

    def __call__(self) -> str:
        self._given += 1
        digest = bytearray(blake2b(f"{self._seed}/{self._given}".encode(), digest_size=16).digest())
        digest[:6] = self._given.to_bytes(6, "big")
        digest[6] = digest[6] & 0x0F | 0x70
        digest[8] = digest[8] & 0x3F | 0x80
        return str(uuid.UUID(bytes=bytes(digest)))
