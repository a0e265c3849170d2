"""A database that is not reached: who finds out tells the others, one tries on, and nobody waits."""

from __future__ import annotations

import asyncio
import errno

import pytest

from perdure.stores.sql import reach
from perdure.stores.sql.reach import Reach


def silence() -> Exception:
    """As a driver tells it: what the socket said is the cause."""
    error = RuntimeError("the connection was closed in the middle of operation")
    error.__cause__ = TimeoutError(errno.ETIMEDOUT, "Connection timed out")
    return error


class Network:
    """Is tried."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.is_over = asyncio.Event()

    async def connect(self) -> None:
        answer = self.answers.pop(0)
        if not self.answers:
            self.is_over.set()
        if answer is not None:
            raise answer


@pytest.mark.parametrize("answer", [None, ConnectionRefusedError(errno.ECONNREFUSED, "no")], ids=["yes", "no"])
async def test_nobody_tries_what_is_cut_until_an_answer_comes(
    answer: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "_PAUSE_S", 0.0)
    network = Network(silence(), ConnectionError(errno.ETIMEDOUT, "no connection within 5 s"), answer)
    found = Reach(network.connect)
    found.check()
    found.note(silence())
    found.note(silence())
    with pytest.raises(ConnectionError, match="nothing that is sent there is answered"):
        found.check()
    await asyncio.wait_for(network.is_over.wait(), 10)
    await asyncio.sleep(0)
    assert not found.is_cut
    found.check()
    await found.close()


@pytest.mark.parametrize(
    "error", [TimeoutError(), ConnectionResetError(errno.ECONNRESET, "reset"), ConnectionRefusedError(), ValueError()]
)
async def test_who_answers_late_or_with_a_refusal_is_reached(error: Exception) -> None:
    found = Reach(Network(None).connect)
    found.note(error)
    assert not found.is_cut
    await found.close()


async def test_it_is_not_tried_any_more_once_the_store_is_closed() -> None:
    is_tried = asyncio.Event()

    async def connect() -> None:
        is_tried.set()
        await asyncio.Event().wait()

    found = Reach(connect)
    found.note(silence())
    await asyncio.wait_for(is_tried.wait(), 10)
    await asyncio.wait_for(found.close(), 10)
    await found.close()
