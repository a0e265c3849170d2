"""Request ids, and the workflow ids of those who give none."""

from __future__ import annotations

import os
import random
import uuid

_random = random.Random()
"""Ours alone: a program that seeds Python's own generator must not make the same ids at every start."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def random_id() -> str:
    """A UUID of version 4. Without a system call, which would give the interpreter lock away."""
    return str(uuid.UUID(int=_random.getrandbits(128), version=4))
