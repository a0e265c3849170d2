"""Here a test may want to see what lies in the database: the store is in `postgres_database`, where nothing is yet."""

from __future__ import annotations

import pytest

from perdure.stores.postgres import PostgresStore
from tests.servers.fixtures import url
from tests.servers.server import Server


@pytest.fixture
def postgres(postgres_server: Server, postgres_database: str) -> PostgresStore:
    """A PostgreSQL store without tables, not opened."""
    return PostgresStore(url(postgres_server, postgres_database))
