"""Database servers of the tests' own: made in a temporary directory, reached on loopback alone, gone with the tests.

    fixtures.py     what a test asks for: `postgres_server`, `mariadb_server`, `pgbouncer`, each with `database()`
    chosen.py       which kind of store tests run on, where they run on any
    stores.py       an empty store of any kind, as a URL
    tables.py       what is in the tables of a store
    server.py       a server that a test process holds: its address, `kill()`, `start()`
    keeper.py       the process beside it that starts the server and stops it when nobody holds it any more
    kinds.py        how each kind is found on the machine, made, started and asked whether it serves

A test session has one server of each kind, whatever the number of its processes: they hold it together. A test that
kills its server has one of its own (`Server.private`). Where a kind is not installed its tests are skipped by name;
with PERDURE_TEST_SERVERS=required in the environment, as `.ci/run` has it, they fail instead.
"""
