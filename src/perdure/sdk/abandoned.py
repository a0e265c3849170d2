"""Keeps for ever what must never be freed: code that refuses to end.

To free a suspended greenlet or coroutine, Python raises an exception inside of it, which runs its code
once more. Code that catches everything and goes on, in a loop, would then never return, and would hang
whatever thread freed it: at the latest the interpreter's own end, which frees all that modules hold.
So such a thing gets a reference that nobody gives back.
"""

from __future__ import annotations

import ctypes

count = 0
"""How many were abandoned in this process."""


def abandon(thing: object) -> None:
    """Let go of something without freeing it, ever."""
    global count
    count += 1
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
