"""MySQL's, MariaDB's and the driver's errors as sentences that name the store and the fix.

What the server says it names by a number (https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html,
https://mariadb.com/kb/en/mariadb-error-codes/).
"""

from __future__ import annotations

from perdure.stores.api import StoreError, Unstorable
from perdure.stores.encoding import unstorable
from perdure.stores.mysql.driver import errno
from perdure.stores.mysql.url import Settings

_SENTENCES = {
    1045: "The user or the password of the store {url} is refused: correct it in the URL.",
    1044: "The user of the store {url} may not use the database ({error}): GRANT it.",
    1142: "The user of the store {url} lacks a right ({error}): GRANT it (docs/mysql.md).",
    1049: "There is no database for the store {url}: create it, `CREATE DATABASE NAME`.",
    1040: "There is no connection left for the store {url}: raise max_connections, or lower `connections`.",
    1021: "The disk of the store {url} is full ({error}): nothing was kept; free some space and it serves again.",
    1114: "The disk of the store {url} is full ({error}): nothing was kept; free some space and it serves again.",
    1290: "The store {url} is read-only, as a replica is ({error}): name the primary.",
    1792: "The store {url} is read-only, as a replica is ({error}): name the primary.",
    1836: "The store {url} is read-only, as a replica is ({error}): name the primary.",
    1146: "The store {url} lacks a table ({error}): restart the engine to create it, or restore a backup.",
    1205: "The store {url} waited too long for a lock ({error}): is another program at work in its tables?",
}
DUPLICATE = 1062
DEADLOCK = 1213
_TRANSIENT = (1205, DEADLOCK, 1305)
"""Lock wait timeout, deadlock (of Galera's certification too), a savepoint that is gone with its transaction
(`bounds.py`)."""
_LOST = (
    1047,
    1053,
    1077,
    1079,
    1158,
    1159,
    1160,
    1161,
    1180,
    1184,
    1189,
    1190,
    1317,
    1927,
    2003,
    2006,
    2013,
    2014,
    2055,
    4031,
)
"""Of the server's that it ends, ends what is done, is a Galera member in no group, or failed amid a COMMIT, on either
side of it; of the driver's that there is no connection."""
_LATE = (1969, 3024, 1028)
"""A read that took longer than it may."""
_VALUES = (1054, 1153, 1264, 1300, 1366, 1367, 1406, 1105, 1118, 1690, 3854, 3140, 1022, 1048, 1264, 1071)
"""What a value of the row is to blame for: out of range, too long, more than a packet holds."""


def is_lost(error: BaseException) -> bool:
    """Whether there may be no connection any more, so that nothing is known of what was asked last."""
    return isinstance(error, (OSError, TimeoutError, EOFError)) or errno(error) in _LOST or _is_of_the_driver(error)


def _is_of_the_driver(error: BaseException) -> bool:
    """What the driver says of a connection whose stream makes no sense any more."""
    return type(error).__name__ in ("InterfaceError", "InternalError") and errno(error) < 1000


def is_late(error: BaseException) -> bool:
    """Whether a read was ended because it took too long."""
    return errno(error) in _LATE


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may go well a moment later: it was to blame for nothing."""
    return errno(error) in _TRANSIENT


def is_of_a_value(error: BaseException) -> bool:
    """Whether one of the rows is to blame, and not the database."""
    if isinstance(error, (OverflowError, UnicodeError, TypeError, ValueError)):
        return True
    return errno(error) in (*_VALUES, DUPLICATE)


def set_apart(error: Exception, what: str) -> Unstorable:
    """One of a group as refused for an error of its own."""
    refused = unstorable(error, what)
    refused.is_value = refused.is_value or errno(error) in _VALUES
    return refused


def store_error(error: BaseException, settings: Settings) -> StoreError:
    """The same error as a sentence. Raise it `from error`."""
    if isinstance(error, StoreError):
        return error
    number = errno(error)
    detail = str(error.args[1] if number and len(error.args) > 1 else error) or type(error).__name__
    sentence = _SENTENCES.get(number)
    if sentence is None and isinstance(error, TimeoutError):
        sentence = "The store {url} did not answer in time: look at its load and at the network."
    elif sentence is None and is_lost(error):
        sentence = "The store {url} cannot be reached ({error}): is the database running there?"
    return StoreError((sentence or "The store {url} failed: {error}.").format(url=settings.shown, error=detail))
