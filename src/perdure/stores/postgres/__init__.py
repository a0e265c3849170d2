"""The PostgreSQL store: many nodes on one database, none of which owns anything (docs/postgresql.md)."""

from __future__ import annotations

from perdure.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
