"""Who asks. Kept by whatever acts later in somebody's name: a schedule, a batch operation."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True, array_like=True):
    """A caller, as far as is known. New fields go to the END and have a default: records of the store hold it."""

    name: str = ""
    """What an authenticator calls the caller; "": nobody was asked to say who they are (anonymous)."""
    address: str = ""
    """`host:port` of the peer that the request came from; "" in this process."""

    def __str__(self) -> str:
        return self.name or (f"anonymous at {self.address}" if self.address else "anonymous")


ANONYMOUS = Principal()
"""Whoever asks in this process, and who made records from before principals were kept."""
