"""What a client writes in a transaction of its own, so that a request is made when that transaction is committed."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec


class Enlistment(msgspec.Struct, frozen=True):
    """A request as a statement on the store's database, for a connection of the caller's.

    The statement answers one row, which begins with what the database calls the transaction. No row: it was run on
    another database, and wrote nothing.
    """

    name: str
    """Of the request: what `Standing` is asked for by."""
    sql: str
    """Parameters are marked $1, $2, ..., in this order, each once."""
    args: tuple[Any, ...]
    store: str
    """The URL of the store, to be shown."""


class Standing(Enum):
    """What has become of a request that was written so."""

    UNCOMMITTED = "uncommitted"
    """Its transaction goes on."""
    PENDING = "pending"
    """It is committed, and will be done in a moment."""
    REFUSED = "refused"
    """It could not be done: it is kept with the reason."""
    GONE = "gone"
    """It was done, or its transaction was rolled back."""
    ROLLED_BACK = "rolled back"
