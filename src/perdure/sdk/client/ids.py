"""Request ids, and the workflow ids of those who give none."""

from __future__ import annotations

import os
import random

_random = random.Random()
"""Ours alone: a program that seeds Python's own generator must not make the same ids at every start."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def random_id() -> str:
    """A UUID of version 4. Without a system call, which would give the interpreter lock away."""
    chance = _random.getrandbits(128)
    text = f"{chance:032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[chance >> 60 & 3]}{text[17:20]}-{text[20:]}"
