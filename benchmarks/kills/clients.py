"""The process that is killed: engine, workers, and clients that keep a ledger.

    python -m benchmarks.kills.clients DIRECTORY WORKFLOWS WAIT

It waits so many seconds before it asks again what was not answered: workflows may have gone on by then.

The ledger's lines are "sent KEY", "acked KEY", "accepted KEY" and "over ID", each one write, so that a kill
loses none. A line on standard output follows for each, by which the campaign chooses the moment of the kill.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.kills.programs import (
    ACTIVITIES,
    END,
    WORKFLOWS,
    Account,
    Actor,
    Effects,
    endless,
    family,
    handler,
    pager,
    relay,
    saga,
    waiter,
)
from perdure import AsyncEngine, AsyncUpdateHandle, AsyncWorkflowHandle, Engine, WorkflowFailedError

AT_ONCE = 60
SIGNALS = 6
UPDATES = 3


class Ledger:
    """What the clients asked, and what they were told."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.entries: dict[str, set[str]] = defaultdict(set)
        if path.exists():
            for line in path.read_text(encoding="ascii").splitlines():
                word, key = line.split()
                self.entries[word].add(key)
        self._file = -1 if read_only else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def has(self, word: str, key: str) -> bool:
        return key in self.entries[word]

    def write(self, word: str, key: str) -> None:
        self.entries[word].add(key)
        os.write(self._file, f"{word} {key}\n".encode())
        os.write(sys.stdout.fileno(), b".\n")

    async def once(self, key: str, request: Callable[[], Awaitable[Any]]) -> None:
        """Ask, unless the answer is known from an earlier life."""
        if not self.has("acked", key):
            self.write("sent", key)
            await request()
            self.write("acked", key)


class Clients:
    """One method for every kind of workflow; each is run again from the top after a kill."""

    def __init__(self, engine: AsyncEngine, ledger: Ledger) -> None:
        self.engine = engine
        self.ledger = ledger

    async def tell(self, workflow_id: str, number: int) -> None:
        key = f"{workflow_id}/{number}"
        await self.ledger.once(key, lambda: self.engine.get(workflow_id).signal("tell", number, request_id=key))

    async def talk(self, workflow_id: str, index: int) -> None:
        """To every second one of them all at once."""
        if index % 2:
            await asyncio.gather(*(self.tell(workflow_id, number) for number in range(SIGNALS)))
        else:
            for number in range(SIGNALS):
                await self.tell(workflow_id, number)
        await self.tell(workflow_id, END)

    async def handler(self, index: int) -> AsyncWorkflowHandle[Any]:
        handle = await self.engine.start(handler, id=f"handler-{index}")
        await self.talk(handle.id, index)
        return handle

    async def waiter(self, index: int) -> AsyncWorkflowHandle[Any]:
        handle = await self.engine.start(waiter, id=f"waiter-{index}")
        await self.talk(handle.id, index)
        return handle

    async def actor(self, index: int) -> AsyncWorkflowHandle[Any]:
        handle = await self.engine.start(Actor, id=f"actor-{index}")
        await self.talk(handle.id, index)
        return handle

    async def endless(self, index: int) -> AsyncWorkflowHandle[Any]:
        handle = await self.engine.start(endless, [], id=f"endless-{index}")
        await self.talk(handle.id, index)
        return handle

    async def pager(self, index: int) -> AsyncWorkflowHandle[Any]:
        handle = await self.engine.start(pager, [], id=f"pager-{index}")
        await self.talk(handle.id, index)
        return handle

    async def relay(self, index: int) -> AsyncWorkflowHandle[Any]:
        target = await self.engine.start(waiter, id=f"target-{index}")
        handle = await self.engine.start(relay, target.id, id=f"relay-{index}")
        await self.talk(handle.id, index)
        await target.result()
        return handle

    async def begun(self, index: int) -> AsyncWorkflowHandle[Any]:
        """Every signal is one that would start the workflow, the last one too."""
        workflow_id = f"begun-{index}"
        for number in [*range(SIGNALS), END]:
            await self.ledger.once(f"{workflow_id}/{number}", partial(self.tell_or_start, workflow_id, number))
        return self.engine.get(workflow_id)

    async def tell_or_start(self, workflow_id: str, number: int) -> None:
        key = f"{workflow_id}/{number}"
        await self.engine.start(waiter, id=workflow_id, start_signal="tell", start_signal_args=[number], request_id=key)

    async def account(self, index: int) -> AsyncWorkflowHandle[Any]:
        handle = await self.engine.start(Account, id=f"account-{index}")
        numbers = range(UPDATES)
        if index % 2:
            await asyncio.gather(*(self.update(handle.id, number, with_start=False) for number in numbers))
        else:
            for number in numbers:
                await self.update(handle.id, number, with_start=False)
        await self.tell(handle.id, END)
        return handle

    async def opened(self, index: int) -> AsyncWorkflowHandle[Any]:
        """Every update is one that would start the workflow."""
        workflow_id = f"opened-{index}"
        for number in range(UPDATES):
            await self.update(workflow_id, number, with_start=True)
        await self.tell(workflow_id, END)
        return self.engine.get(workflow_id)

    async def update(self, workflow_id: str, number: int, *, with_start: bool) -> None:
        """One that is known to be accepted is only asked after: if it were lost, nobody would bring it again."""
        key, engine, ledger = f"{workflow_id}/{number}", self.engine, self.ledger
        if ledger.has("acked", key):
            return
        if ledger.has("accepted", key):
            handle = engine.get(workflow_id).update_handle(key)
        else:
            ledger.write("sent", key)
            handle = await self.send_update(workflow_id, number, key, with_start=with_start)
            ledger.write("accepted", key)
        answer = await handle.result()
        assert answer == number * 10, f"{key} was answered {answer}"
        ledger.write("acked", key)

    async def send_update(self, workflow_id: str, number: int, key: str, *, with_start: bool) -> AsyncUpdateHandle[Any]:
        if with_start:
            handle = await self.engine.start(
                Account, id=workflow_id, start_update="add", start_update_args=[number], start_update_id=key
            )
            assert handle.update_of_start is not None
            return handle.update_of_start
        return await self.engine.get(workflow_id).update("add", number, update_id=key, wait_for="accepted")

    async def saga(self, index: int) -> AsyncWorkflowHandle[Any]:
        return await self.engine.start(saga, index, id=f"saga-{index}")

    async def family(self, index: int) -> AsyncWorkflowHandle[Any]:
        return await self.engine.start(family, id=f"family-{index}")


KINDS = ("handler", "waiter", "actor", "endless", "pager", "relay", "begun", "account", "opened", "saga", "family")
LINES = {"saga": 1, "family": 1, "account": 3 * UPDATES + 3, "opened": 3 * UPDATES + 3}
LINES_OF_SIGNALS = 2 * (SIGNALS + 1) + 1


def lines_of(workflows: int) -> int:
    """How many lines a ledger has when all is done and nothing was asked twice."""
    return sum(LINES.get(kind, LINES_OF_SIGNALS) for kind in KINDS) * workflows


async def work(directory: Path, workflows: int, wait_s: float) -> None:
    """Do what is not done yet, then let the engine settle what is on its way."""
    ledger = Ledger(directory / "ledger")
    Effects.open(str(directory / "effects"))
    async with Engine(f"sqlite:///{directory / 'kills.db'}", workflows=WORKFLOWS, activities=ACTIVITIES) as engine:
        clients = Clients(engine, ledger)
        os.write(sys.stdout.fileno(), b"ready\n")
        await asyncio.sleep(wait_s)
        todo: Iterator[tuple[int, str]] = ((index, kind) for index in range(workflows) for kind in KINDS)

        async def lane() -> None:
            for index, kind in todo:
                if ledger.has("over", f"{kind}-{index}"):
                    continue
                handle = await getattr(clients, kind)(index)
                try:
                    await handle.result()
                except WorkflowFailedError:
                    assert kind == "saga", f"{handle.id} failed"
                ledger.write("over", f"{kind}-{index}")

        await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
        while messages_under_way(directory):
            await asyncio.sleep(0.02)


def messages_under_way(directory: Path) -> int:
    """How many rows the outbox has, read from outside."""
    connection = sqlite3.connect(f"file:{directory / 'kills.db'}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT count(*) FROM messages").fetchone()[0]
    finally:
        connection.close()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
