"""Where a transaction begins and ends, so that a COMMIT never takes a part of it for the whole.

A member of a Galera group undoes a transaction at any moment for the sake of another member's. Between two statements
of one text it does so without an error: what stands behind is done as if there had been no BEGIN, each statement for
itself, and the COMMIT says that all is well (MariaDB 10.11; `tests/stores/mysql/test_galera.py` provokes it). So there

* a connection that writes commits nothing by itself: what was left without its transaction is undone with the next one;
* a savepoint is set before the first statement that counts, and released behind the last. It is gone with its
  transaction, so the release fails when anything stands in another one than the rest;
* COMMIT is a text of its own: nothing can come between the release and it that it does not answer for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Bounds(NamedTuple):
    """What stands around the statements of a transaction."""

    begin: Sequence[bytes]
    end: Sequence[bytes]
    commit: bytes
    """A text of its own, which commits; empty: `end` does."""

    @property
    def may_vanish(self) -> bool:
        """Whether a transaction can be undone between two of its statements."""
        return bool(self.commit)


ONE_SERVER = Bounds((b"BEGIN",), (b"COMMIT",), b"")
GROUP = Bounds((b"BEGIN", b"SAVEPOINT whole"), (b"RELEASE SAVEPOINT whole",), b"COMMIT")
