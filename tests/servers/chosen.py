"""Which kind of store tests run on: as a rule those that a test names; one alone where PERDURE_TEST_STORE says so.

PERDURE_TEST_STORE=mariadb make test ARGS=tests/differential        or: make test-stores STORE=mariadb
"""

from __future__ import annotations

import os
from collections.abc import Sequence

KINDS = ("memory", "sqlite", "postgres", "pgbouncer", "mariadb", "mysql")
"""`pgbouncer`: PostgreSQL behind PgBouncer in transaction mode. `mysql`: MySQL itself, not MariaDB."""
CHOSEN = os.environ.get("PERDURE_TEST_STORE", "")
"""One of them, or empty."""

if CHOSEN not in ("", *KINDS):
    raise ValueError(f"PERDURE_TEST_STORE={CHOSEN} is none of {', '.join(KINDS)}")


MYSQL = "mysql" if CHOSEN == "mysql" else "mariadb"
"""The kind of server that tests of the MySQL store start: MySQL itself where it was chosen."""


def kinds(*ordinary: str) -> Sequence[str]:
    """The kinds that a test runs on: those that it names, or the one that was chosen."""
    return [CHOSEN] if CHOSEN else ordinary
