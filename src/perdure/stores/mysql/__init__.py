"""The store on MySQL and MariaDB: many nodes on one database, none of which owns it.

`store.py` is the store; `writer.py` makes groups of commits into transactions of two round trips, which `lane.py`
sends and `statements.py` words; `reader.py`, `readers.py` and `positions.py` answer reads; `notices.py` tells the
engines what the others say; `url.py`, `door.py` and `driver.py` are how a connection comes about. Why it writes the way
it does: docs/adr/0023-mysql.md.
"""

from perdure.stores.mysql.store import MysqlStore

__all__ = ["MysqlStore"]
