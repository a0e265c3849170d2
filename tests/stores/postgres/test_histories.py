"""Histories that are read together: one statement, and each answer its own."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from perdure.core.names import ExecutionKey
from perdure.stores.api import Damaged, StoreError
from perdure.stores.postgres import PostgresStore
from tests.servers.fixtures import conninfo
from tests.servers.server import Server
from tests.stores.given import APPLIED, Run

RUNS = 50


async def filled(store: PostgresStore) -> list[ExecutionKey]:
    """Runs of one batch, of two, of three, of one, ..."""
    await store.open()
    runs = [Run(f"order-{number}") for number in range(RUNS)]
    for turn in range(3):
        going = [run.commit() for number, run in enumerate(runs) if number % 3 >= turn]
        assert list(await store.commit(going)) == [APPLIED] * len(going)
    return [run.key for run in runs]


async def test_what_is_asked_for_at_once_is_read_by_few_statements_and_is_what_it_would_be_alone(
    postgres: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await filled(postgres)
    statements: list[str] = []
    fetch = postgres._open().readers.fetch

    async def counted(sql: str, *args: Any) -> Any:
        statements.append(sql)
        return await fetch(sql, *args)

    try:
        monkeypatch.setattr(postgres._open().readers, "fetch", counted)
        asked = [(key, 1 + number % 4, 1 if number % 5 == 0 else 1 << 20) for number, key in enumerate(keys)]
        nobody = ExecutionKey("default", "nobody", "run-1")
        *together, of_nobody = await asyncio.gather(
            *[postgres.history(*one) for one in asked], postgres.history(nobody)
        )
        assert len(statements) == 2
        assert of_nobody == []
        assert together == [await postgres.history(*one) for one in asked]
        assert [batch.first_event_id for batch in together[2]] == [3, 5]
        assert [batch.first_event_id for batch in together[5]] == [1]
    finally:
        await postgres.close()


async def test_a_damaged_history_harms_none_that_is_read_with_it(
    postgres: PostgresStore, postgres_server: Server, postgres_database: str
) -> None:
    keys = await filled(postgres)
    try:
        with psycopg.connect(conninfo(postgres_server, postgres_database), autocommit=True) as connection:
            connection.execute(
                "UPDATE perdure.history AS h SET checksum = checksum + 1 FROM perdure.executions AS e "
                "WHERE e.id = h.execution_id AND e.workflow_id = 'order-7'"
            )
        answers = await asyncio.gather(*map(postgres.history, keys), return_exceptions=True)
        assert [number for number, answer in enumerate(answers) if isinstance(answer, Damaged)] == [7]
        assert sum(isinstance(answer, list) for answer in answers) == RUNS - 1
    finally:
        await postgres.close()


async def test_a_database_that_cannot_be_read_is_told_to_everybody_who_asked(
    postgres: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await filled(postgres)

    async def fails(sql: str, *args: Any) -> Any:
        raise StoreError("no")

    try:
        monkeypatch.setattr(postgres._open().readers, "fetch", fails)
        answers = await asyncio.gather(*map(postgres.history, keys), return_exceptions=True)
        assert all(isinstance(answer, StoreError) for answer in answers)
    finally:
        await postgres.close()
