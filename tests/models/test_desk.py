"""The desk of interventions looks only at runs that wait, where the server has an index of them."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from perdure.errors import EngineError
from perdure.interventions.desk import AsyncInterventions


class Server:
    """Lists nothing, and remembers what it was asked for."""

    def __init__(self, refusal: str = "") -> None:
        self._reach = None
        self.refusal = refusal
        self.queries: list[str] = []

    async def list(self, query: str, limit: int) -> list[Any]:
        self.queries.append(query)
        if self.refusal and "PerdureMemoKeys" in query:
            raise EngineError(self.refusal)
        return []


def listed(server: Server) -> list[Any]:
    return asyncio.run(AsyncInterventions(cast(Any, server)).list())


def test_the_index_of_memo_keys_is_asked() -> None:
    server = Server()
    assert listed(server) == []
    assert server.queries == ['CloseTime IS NULL AND PerdureMemoKeys = "perdure.interventions"']


def test_a_server_without_one_lists_every_open_run() -> None:
    server = Server("INVALID_ARGUMENT: invalid query: invalid search attribute: PerdureMemoKeys")
    assert listed(server) == []
    assert server.queries[1:] == ["CloseTime IS NULL"]


def test_another_refusal_is_told() -> None:
    with pytest.raises(EngineError, match="on fire"):
        listed(Server("the store is on fire"))
