"""A codec changes payloads on their way to the server and back: encryption, compression.

It works on bytes that are already encoded, so it never sees a Python value. It is called on the
workflow's thread too, so it must be quick, do no I/O, and give the same bytes for the same input
wherever replay compares them (nothing compares ciphertext today).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from temporalio.api.common.v1 import Payload


class PayloadCodec(Protocol):
    """Both methods return as many payloads as they were given, in order, and leave their input as it is.

    What they raise comes to the caller as PayloadCodecError.
    """

    def encode(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """On the way to the server. Must mark what it encodes (`metadata["encoding"]`), for `decode` to know it."""
        ...

    def decode(self, payloads: Sequence[Payload]) -> Sequence[Payload]:
        """Must hand through a payload that it did not encode."""
        ...
