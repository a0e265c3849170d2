"""Pages of what stands in order of position, none of which is told while something may still appear before it.

A position is the time at which its transaction had locked its writer's row, and what it writes can be seen when it
commits: so a transaction may appear before another one that was seen already. But its writer's row is locked until
then. A reader notes the time, then looks which writers' rows are locked, and then reads. A writer whose row was free
has nothing on its way that is older than that time; of one whose row was locked everything is newer than what it wrote
last. What may still get something before it is read again once those writers are through, which is the case in
milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perdure.stores.mysql.errors import is_transient
from perdure.stores.mysql.literals import Raw, Rows, statement
from perdure.stores.mysql.readers import Readers

_SKIP_LOCKED = {True: b" LOCK IN SHARE MODE SKIP LOCKED", False: b" FOR SHARE SKIP LOCKED"}
"""Of MariaDB, and of MySQL."""
Row = Sequence[Any]


async def read_settled(readers: Readers, page: bytes) -> Rows:
    """The rows of a page, which begin with their positions, up to the first that may get another one before it.

    Raises as `Readers.query`.
    """
    free_writers = statement("list_free_writers")() + _SKIP_LOCKED[readers.door.is_mariadb]
    looks = [statement("find_position")(), free_writers, statement("list_writers")(), page]
    now, free, all, found = [answer.rows for answer in await readers.query(b";".join(looks))]
    [[until]] = now
    if not found or found[-1][0] < _bound(until, free, all):
        return found
    busy = {writer for writer, _ in all} - {writer for (writer,) in free}
    if busy:
        waiting = statement("wait_for_writers")(Raw(b",".join(b"%d" % writer for writer in busy)))
        try:
            *_, answer = await readers.query(b";".join([waiting, page]))
        except Exception as error:
            if not is_transient(error):
                raise
            until = _bound(until, free, all)  # they take long: what they are not in the way of
        else:
            found = answer.rows
    return _before(found, until)


def _bound(now: int, free: Rows, all: Rows) -> int:
    """What is older can get nothing before it any more."""
    at_rest = {writer for (writer,) in free}
    return min([now, *(last + 1 for writer, last in all if writer not in at_rest)])


def _before(rows: Rows, position: int) -> Rows:
    return [row for row in rows if row[0] < position]
