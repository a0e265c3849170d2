"""A record written by a connection that is not the store's: in the transaction of a program on the same database.

The statement proves that it is the same database before it writes, and tells the nodes by a notice of the same
transaction, which PostgreSQL delivers when that is committed. (Transactions with notices are committed one at a time,
so the store sends none with its own; whoever enlists waits a little for others that do.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from perdure.api.enlistment import Enlistment
from perdure.stores import checksums
from perdure.stores.api import RecordChange
from perdure.stores.encoding import check_change, unstorable
from perdure.stores.partitions import partition_of
from perdure.stores.postgres.notices import strange_notice
from perdure.stores.postgres.queries import query
from perdure.stores.postgres.statement import signed
from perdure.stores.postgres.texts import escape, in_schema
from perdure.stores.postgres.url import Settings

Read = Callable[..., Awaitable[Sequence[Sequence[Any]]]]
_IN_PROGRESS, _ABORTED = "in progress", "aborted"


class Enlisting:
    """Implements `perdure.stores.api.EnlistingStore`. `read(name, *args)`: the rows of one of the store's queries."""

    def __init__(self, settings: Settings, read: Read) -> None:
        self._settings = settings
        self._read = read
        self._enlist = in_schema(query("enlist"), settings.schema)
        self._identity: str | None = None

    async def enlist(self, change: RecordChange, channel: str) -> Enlistment:
        """See `EnlistingStore.enlist`."""
        assert change.data is not None, "what is enlisted is new"
        assert change.expected_version == 0, "what is enlisted is new"
        try:
            check_change(change)
        except Exception as error:
            raise unstorable(error, f"{change.kind} {change.name!r}") from error
        if self._identity is None:
            [[self._identity]] = await self._read("identify")
        partition = partition_of(change.namespace, change.name)
        name = (escape(change.kind), escape(change.namespace), escape(change.name))
        checksum = signed(checksums.of_record(change.data, 1))
        told = strange_notice(self._settings.schema, channel, partition.to_bytes(2))
        args = (partition, *name, change.wake_at_ns, checksum, change.data, self._identity, *told)
        return Enlistment(change.name, self._enlist, args, self._settings.shown)

    async def is_committed(self, transaction: str) -> bool | None:
        """See `EnlistingStore.is_committed`."""
        [[status]] = await self._read("transaction_status", transaction)
        return None if status == _IN_PROGRESS else status != _ABORTED
