"""How a worker in another process of the same store is named, so that its life can be told from outside.

Such a worker's instance key is a number of 60 bits, written as 15 hexadecimal digits. While its process lives it holds
a lock of that number (`perdure.stores.sqlite.lock_file`); the kernel lets go of it with the process. Whoever has the
state of an attempt therefore knows whether its worker is alive, without asking it and without waiting.
"""

from __future__ import annotations

BITS = 60
CHARACTERS = 15


def presence(number: int) -> str:
    """The key of a worker whose number is this."""
    return f"{number:0{CHARACTERS}x}"


def presence_of(key: str) -> str:
    """The key, if it is one of those; "" for any other instance key: nothing can be told of that worker's life."""
    return key if len(key) == CHARACTERS else ""


def number_of(key: str) -> int:
    """The number of a key. Raises ValueError when it is none."""
    return int(key, 16)
