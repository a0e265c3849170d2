"""PostgreSQL's and the driver's errors as sentences that name the store and the fix.

What the server says it names by a SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), whose
first two characters are the class of the error.
"""

from __future__ import annotations

from perdure.stores.api import StoreError, Unstorable
from perdure.stores.encoding import unstorable
from perdure.stores.postgres.driver import library, sqlstate
from perdure.stores.postgres.url import Settings

_READ_ONLY = "25006"
_POOLED = (
    "A pooler stands before the store {url}, and gives each transaction another session: write pgbouncer=true into the "
    "URL (docs/postgresql.md)."
)
_AT_THE_DOOR = (
    ("unsupported startup parameter", _POOLED),
    (
        "unrecognized configuration parameter",
        "The store URL {url} has an option that nobody knows ({error}): docs/postgresql.md has a list.",
    ),
    (
        "rejected SSL upgrade",
        "The store {url} does not speak TLS: is PostgreSQL running there? If so, turn its `ssl` on, or take `sslmode` "
        "out of the URL.",
    ),
)
"""What is said to who connects, by a text in it: of these some have no SQLSTATE, and others share theirs."""
_SENTENCES = {
    "28P01": "PostgreSQL refuses the password of the store {url}: set it in the URL, in PGPASSWORD or in ~/.pgpass.",
    "28000": "PostgreSQL does not let this user connect to the store {url} ({error}): look at pg_hba.conf.",
    "3D000": "There is no database for the store {url} ({error}): create it, `createdb NAME`.",
    "42501": "The store's user lacks a right ({error}): see docs/postgresql.md for what it needs. {url}",
    "53300": "PostgreSQL has no connection left for the store {url}: raise max_connections, or lower `connections`.",
    "53100": "The disk of the store {url} is full ({error}): nothing was kept; free some space and it serves again.",
    _READ_ONLY: "The store {url} is a stand-by, or is read-only: name the primary, or all of them.",
    "42P01": "The store {url} lacks a table ({error}): restart the engine to create it, or restore a backup.",
    "57014": "The store {url} took too long and was interrupted: look at its load, or raise `timeout` in the URL.",
    "26000": _POOLED,
    "42P05": _POOLED,
    "57P03": "The store {url} is starting or stopping ({error}): it is tried again.",
}
_VALUES = ("22", "54")
"""Classes of errors that a value is to blame for: data exceptions, limits exceeded."""
_CONTRADICTIONS = ("23",)
_TRANSIENT = ("40001", "40P01", "55P03")


def is_read_only(error: BaseException) -> bool:
    """Whether who answers is a stand-by, or was asked to lead no more: it has done nothing."""
    return sqlstate(error) == _READ_ONLY or isinstance(error, library().TargetServerAttributeNotMatched)


def is_lost(error: BaseException) -> bool:
    """Whether there may be no connection any more to who takes commits, so nothing is known of what was asked last."""
    if isinstance(error, (OSError, TimeoutError)) or is_read_only(error):
        return True
    driver = library()
    if isinstance(error, (driver.PostgresConnectionError, driver.InternalClientError)):
        return True
    if sqlstate(error):
        return sqlstate(error)[:3] == "57P" or getattr(error, "severity_en", None) == "FATAL"
    return isinstance(error, driver.InterfaceError) and not isinstance(error, (driver.DataError, ValueError))


def is_transient(error: BaseException) -> bool:
    """Whether the same statement may go well a moment later: it was to blame for nothing (deadlock, serialization)."""
    return sqlstate(error) in _TRANSIENT


def is_of_a_value(error: BaseException) -> bool:
    """Whether one of the rows is to blame, and not the database."""
    if isinstance(error, (OverflowError, UnicodeError, TypeError, ValueError)):
        return True
    return sqlstate(error)[:2] in (*_VALUES, *_CONTRADICTIONS)


def set_apart(error: Exception, what: str) -> Unstorable:
    """One of a group as refused for an error of its own."""
    refused = unstorable(error, what)
    refused.is_value = refused.is_value or sqlstate(error)[:2] in _VALUES
    return refused


def store_error(error: BaseException, settings: Settings) -> StoreError:
    """The same error as a sentence. Raise it `from error`."""
    if isinstance(error, StoreError):
        return error
    detail = str(error) or type(error).__name__
    sentence = _SENTENCES.get(_READ_ONLY if is_read_only(error) else sqlstate(error))
    if sentence is None and isinstance(error, TimeoutError):
        sentence = "The store {url} did not answer in time: look at its load and at the network."
    elif sentence is None and is_lost(error):
        away = "The store {url} cannot be reached ({error}): is PostgreSQL running there?"
        sentence = next((one for text, one in _AT_THE_DOOR if text in detail), away)
    return StoreError((sentence or "The store {url} failed: {error}.").format(url=settings.shown, error=detail))
