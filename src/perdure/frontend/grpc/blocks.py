"""Header blocks that are received, as fields (HPACK, RFC 7541).

Both sides keep a table of fields that were sent before, and every block may point into it and add to it. So
a block must be read to its end whatever becomes of its call: a list of fields that is too long is
read on without being kept, the call is refused, and the other calls of the connection go on. A block
that cannot be read leaves the tables out of step, which ends the connection; so does one that swells to
many times the bound, whose reading would keep everybody waiting.

The fields that both sides know from the start, and Huffman's code, are those of the library `hpack`. The loop is
our own: it looks at each byte once, it has that second way to end, and it says whether the table has
changed. As long as it has not, equal blocks mean equal fields.
"""

from __future__ import annotations

from collections import deque

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from perdure.frontend.grpc import bounds
from perdure.frontend.grpc.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Broken

Field = tuple[bytes, bytes]
"""Name and value."""

_STATIC: tuple[Field, ...] = HeaderTable.STATIC_TABLE
_FIRST_DYNAMIC = len(_STATIC) + 1
_FIELD_BYTES = 32
"""What a field counts beside its name and value, in the table and in the list (RFC 7541, 4.1; RFC 9113, 6.5.2)."""
_TABLE_BYTES_MAX = 4_096
"""The protocol's default, which we never change."""
_INTEGER_SHIFT_MAX = 28
"""An integer has at most five bytes behind its first."""


class Blocks:
    """The table of one connection, by which its client's blocks are read."""

    def __init__(self) -> None:
        self._table: deque[Field] = deque()
        self._table_bytes = 0
        self._table_bytes_max = _TABLE_BYTES_MAX
        self.changes = 0
        """How often the table has changed, or may have."""
        self._at = 0

    def read(self, block: bytes) -> tuple[list[Field], bool]:
        """The fields of a block, and whether they are all: of a list that is too long the first ones are told.

        Raises Broken.
        """
        fields, list_bytes, is_whole = list[Field](), 0, True
        self._at, end = 0, len(block)
        try:
            while self._at < end:
                byte = block[self._at]
                if byte & 0x80:
                    field = self._entry(self._integer(block, 0x7F))
                elif byte & 0x40:
                    field = self._literal(block, 0x3F)
                    self._add(field)
                elif byte & 0x20:
                    if list_bytes:
                        raise ValueError("the table's size changes behind a field")
                    self._resize(self._integer(block, 0x1F))
                    continue
                else:
                    field = self._literal(block, 0x0F)
                list_bytes += len(field[0]) + len(field[1]) + _FIELD_BYTES
                if list_bytes <= bounds.HEADER_LIST_BYTES_MAX:
                    fields.append(field)
                elif list_bytes <= bounds.LIST_BYTES_READ_MAX:
                    is_whole = False
                else:
                    raise Broken(ENHANCE_YOUR_CALM, "headers that swell")
        except IndexError as error:
            raise Broken(COMPRESSION_ERROR, "a header block without its end") from error
        except (ValueError, HPACKDecodingError) as error:
            raise Broken(COMPRESSION_ERROR, str(error)) from error
        return fields, is_whole

    def _integer(self, block: bytes, mask: int) -> int:
        """The integer here, whose first bits are those of `mask`."""
        value = block[self._at] & mask
        self._at += 1
        if value < mask:
            return value
        for shift in range(0, _INTEGER_SHIFT_MAX + 1, 7):
            byte = block[self._at]
            self._at += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("an integer that is too long")

    def _entry(self, index: int) -> Field:
        if index < _FIRST_DYNAMIC:
            if not index:
                raise ValueError("there is no field 0")
            return _STATIC[index - 1]
        if index - _FIRST_DYNAMIC >= len(self._table):
            raise ValueError("a field that is not in the table")
        return self._table[index - _FIRST_DYNAMIC]

    def _literal(self, block: bytes, mask: int) -> Field:
        index = self._integer(block, mask)
        name = self._entry(index)[0] if index else self._string(block)
        return name, self._string(block)

    def _string(self, block: bytes) -> bytes:
        is_encoded = block[self._at] & 0x80
        size = self._integer(block, 0x7F)
        text = block[self._at : self._at + size]
        if len(text) < size:
            raise ValueError("a string without its end")
        self._at += size
        return decode_huffman(text) if is_encoded else text

    def _add(self, field: Field) -> None:
        """A field that is larger than the whole table empties it."""
        self.changes += 1
        self._table.appendleft(field)
        self._table_bytes += len(field[0]) + len(field[1]) + _FIELD_BYTES
        self._evict()

    def _resize(self, size: int) -> None:
        if size > _TABLE_BYTES_MAX:
            raise ValueError("a table that is too large")
        self.changes += 1
        self._table_bytes_max = size
        self._evict()

    def _evict(self) -> None:
        while self._table_bytes > self._table_bytes_max:
            name, value = self._table.pop()
            self._table_bytes -= len(name) + len(value) + _FIELD_BYTES
