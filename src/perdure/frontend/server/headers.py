"""Header blocks that are received.

A client's calls carry the same headers again and again, and after the first few each of them is one
byte that points into a table. So a block is decoded once for every state of that table: what was seen
before is looked up, as long as nothing was added to the table since.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from hpack import Decoder
from hpack.exceptions import HPACKError
from hpack.table import HeaderTable

from perdure.frontend.server import bounds

logging.getLogger("hpack").setLevel(logging.WARNING)

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT_DIGITS_MAX = 8


class Call(NamedTuple):
    """What the headers of a request say."""

    path: str
    timeout_s: float | None
    encoding: str
    is_grpc: bool
    """A POST of gRPC's content type."""


class BadHeaders(Exception):
    """The block cannot be understood: the connection's table is out of step, and the connection of no use."""


class _Table(HeaderTable):
    """Counts what changes it."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)


class Headers:
    """The decoder of one connection."""

    def __init__(self) -> None:
        self._table = _Table()
        self._decoder = Decoder(max_header_list_size=bounds.HEADER_LIST_BYTES_MAX)
        self._decoder.header_table = self._table
        self._known: dict[bytes, Call] = {}

    def read(self, block: bytes) -> Call:
        """Raises BadHeaders."""
        call = self._known.get(block)
        if call is not None:
            return call
        before = self._table.changes, self._table.maxsize
        try:
            call = _call({_text(name): _text(value) for name, value in self._decoder.decode(block, raw=True)})
        except (HPACKError, IndexError, UnicodeDecodeError) as error:
            raise BadHeaders(str(error)) from error
        if before != (self._table.changes, self._table.maxsize):
            self._known.clear()
        elif len(self._known) < bounds.BLOCKS_KNOWN_MAX and len(block) <= bounds.BLOCK_KNOWN_BYTES_MAX:
            self._known[block] = call
        return call


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else bytes(value).decode()


def _call(headers: dict[str, str]) -> Call:
    return Call(
        headers.get(":path", ""),
        timeout_s(headers["grpc-timeout"]) if "grpc-timeout" in headers else None,
        headers.get("grpc-encoding", "identity"),
        headers.get(":method") == "POST" and headers.get("content-type", "").startswith("application/grpc"),
    )


def timeout_s(value: str) -> float | None:
    """Seconds of a `grpc-timeout`, such as `70000m`; None for what is none."""
    digits, unit = value[:-1], value[-1:]
    if unit not in _UNITS or not digits.isdecimal() or len(digits) > _TIMEOUT_DIGITS_MAX:
        return None
    return int(digits) * _UNITS[unit]
