"""The store of one machine: one SQLite file, one process that owns it.

`store.py` is the store; `writer.py` turns commits into one transaction, `reader.py` answers reads;
`connection.py` opens the file and says what is wrong with it, `schema.py` makes and migrates the
tables, `ownership.py` keeps a second process out, `read_only.py` looks from outside, `backup.py`
copies and checks a live file, `errors.py` puts SQLite's errors into sentences. The SQL is in
`schema.sql` and `queries/`. Why it writes the way it does: docs/adr/0002-sqlite-writer.md.
"""

from perdure.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
