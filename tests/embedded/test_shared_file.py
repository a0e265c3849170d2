"""One file, many engines: one owns it, the others are its clients and workers, and one of them succeeds it.

Engines of one process share a file as those of several do; what only the end of a process shows is in
`test_shared_kills.py`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from perdure import Engine, Retry, Transaction, activity, call, workflow
from perdure.embedded import AsyncEngine, shared_file
from perdure.engine.matching.task_queue import NEAR_IN_HAND
from perdure.errors import EngineClosedError
from perdure.frontend import door
from perdure.stores.api import StoreError
from perdure.stores.sqlite import ownership
from perdure.stores.sqlite.beside import Address, socket_path
from tests.eventually import PATIENCE_S, eventually

ROOT = Path(__file__).parents[2]
began = threading.Semaphore(0)
may_end = threading.Event()
runs: list[int] = []


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(globals(), "began", threading.Semaphore(0))
    runs.clear()
    may_end.clear()
    yield
    may_end.set()


@activity
def add_one(number: int) -> int:
    return number + 1


@activity(start_to_close_timeout="1h", retry=Retry(maximum_attempts=2))
def take_long() -> str:
    attempt = activity.info().attempt
    runs.append(attempt)
    began.release()
    assert may_end.wait(PATIENCE_S)
    return f"attempt {attempt}"


@workflow
def adding(number: int) -> int:
    return call(add_one, number)


@workflow
def taking_long() -> str:
    return call(take_long)


class Fleet:
    """Engines on one file."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self.url = f"sqlite:///{path}"
        self._stack = stack

    async def engine(self, **options: Any) -> AsyncEngine:
        options = {"workflows": [adding, taking_long], "activities": [add_one, take_long], **options}
        return await self._stack.enter_async_context(AsyncEngine(self.url, **options))


@asynccontextmanager
async def fleet_on(path: Path) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        yield Fleet(path, stack)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


def owns(engine: AsyncEngine) -> bool:
    home = engine._home
    assert isinstance(home, shared_file.SharedFile)
    return home.near is not None


async def until(look: Callable[[], bool], what: str) -> None:
    """As `eventually`, while the loop that the engines run on goes on."""
    await asyncio.to_thread(eventually, look, what)


async def in_thread(wait: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(wait)


async def test_a_second_engine_on_a_file_is_client_and_worker_of_the_first(path: Path) -> None:
    async with fleet_on(path) as fleet:
        first = await fleet.engine(worker=False)
        second = await fleet.engine()
        assert (owns(first), owns(second)) == (True, False)
        assert await second.run(adding, 1, id="by-the-second") == 2
        assert await first.run(adding, 2, id="by-the-first") == 3, "the first has no worker: the second's did it"
        assert (await first.get("by-the-second").describe()).status.name == "COMPLETED"


async def test_when_the_owner_closes_another_owns_the_file_and_the_others_go_on_with_it(path: Path) -> None:
    async with fleet_on(path) as fleet:
        first = await fleet.engine()
        others = [await fleet.engine() for _ in range(3)]
        handle = await others[0].start(taking_long, id="long")
        assert await in_thread(lambda: began.acquire(timeout=PATIENCE_S))
        closing = asyncio.ensure_future(first.close(at_once=True))
        results = await asyncio.gather(*(engine.run(adding, 1, id=f"{n}") for n, engine in enumerate(others)))
        may_end.set()
        await closing
        assert results == [2, 2, 2]
        await handle.result()
        assert sorted(owns(engine) for engine in others) == [False, False, True]
        await others[0].run(adding, 1, id="behind")


async def test_the_last_one_left_owns_the_file_and_works_as_if_it_had_been_the_first(path: Path) -> None:
    async with fleet_on(path) as fleet:
        first, second = await fleet.engine(), await fleet.engine()
        assert await second.run(adding, 1, id="before") == 2
        await first.close()
        await until(lambda: owns(second), "the second owns the file")
        assert await second.run(adding, 2, id="after") == 3
        third = await fleet.engine(worker=False)
        assert await third.run(adding, 3, id="from another") == 4
        assert not owns(third)


async def test_what_a_client_runs_is_neither_lost_nor_run_twice_when_the_owner_goes(path: Path) -> None:
    async with fleet_on(path) as fleet:
        first, second = await fleet.engine(worker=False), await fleet.engine()
        handle = await second.start(taking_long, id="long")
        assert await in_thread(lambda: began.acquire(timeout=PATIENCE_S))
        await first.close()
        await until(lambda: owns(second), "the second owns the file")
        assert (await second.get("long").describe()).pending_activities[0].attempt == 1
        may_end.set()
        assert await handle.result() == "attempt 1"
        assert runs == [1]


async def test_what_a_client_that_went_had_in_hand_is_taken_back_at_once(path: Path) -> None:
    async with fleet_on(path) as fleet:
        first, second = await fleet.engine(worker=False), await fleet.engine(shutdown_grace=0)
        handle = await first.start(taking_long, id="long")
        assert await in_thread(lambda: began.acquire(timeout=PATIENCE_S))
        await second.close(at_once=True)  # the activity hears of it, and does not stop
        await fleet.engine()
        assert await in_thread(lambda: began.acquire(timeout=PATIENCE_S))
        may_end.set()
        assert await handle.result() == "attempt 2"


async def test_an_owner_without_a_worker_gives_what_dead_ones_held_to_the_workers_of_others(path: Path) -> None:
    async with fleet_on(path) as fleet:
        first, second = await fleet.engine(shutdown_grace=0), await fleet.engine(worker=False)
        handle = await second.start(taking_long, id="long")
        assert await in_thread(lambda: began.acquire(timeout=PATIENCE_S))
        await first.close(at_once=True)
        await until(lambda: owns(second), "the second owns the file")
        await fleet.engine()
        assert await in_thread(lambda: began.acquire(timeout=PATIENCE_S))
        may_end.set()
        assert await handle.result() == "attempt 2"


async def test_signals_queries_and_results_that_wait_survive_the_owner(path: Path) -> None:
    async with fleet_on(path) as fleet:
        first, second, third = await fleet.engine(), await fleet.engine(), await fleet.engine()
        handle = await second.start(taking_long, id="long")
        waiting = asyncio.ensure_future(third.get("long").result())
        await first.close(at_once=True)
        may_end.set()
        assert (await waiting).startswith("attempt")
        assert (await handle.result()).startswith("attempt")


# --- transactional activities -------------------------------------------------------------------------


@activity(transactional=True)
def where(tx: Transaction) -> str:
    return threading.current_thread().name


@workflow
def asking_where() -> str:
    return call(where)


async def test_transactional_activities_are_left_to_the_owner(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with fleet_on(path) as fleet:
        first = await fleet.engine(workflows=[asking_where], activities=[where])
        with caplog.at_level(logging.INFO, "perdure.worker"):
            second = await fleet.engine(workflows=[asking_where], activities=[where])
        assert "left to the process that owns the store" in caplog.text and "where" in caplog.text
        for number in range(10):
            assert await second.run(asking_where, id=f"{number}")
        await first.close()
        assert await second.run(asking_where, id="of its own"), "it owns the file, and its transactions"


# --- the socket ---------------------------------------------------------------------------------------


async def test_the_socket_is_beside_the_file_for_this_user_alone_and_goes_with_the_owner(path: Path) -> None:
    async with fleet_on(path) as fleet:
        engine = await fleet.engine()
        found = path.with_name("orders.db.sock").stat()
        assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
        await engine.close()
        assert not path.with_name("orders.db.sock").exists()


async def test_a_socket_that_a_dead_owner_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path) + ".sock")
    async with fleet_on(path) as fleet:
        await fleet.engine(worker=False)
        assert await (await fleet.engine()).run(adding, 1, id="one") == 2


async def test_something_else_of_the_sockets_name_is_left_and_the_owner_works_alone(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_file, "OPEN_WAIT_S", 0.1)
    path.with_name("orders.db.sock").write_text("precious")
    async with fleet_on(path) as fleet:
        assert await (await fleet.engine()).run(adding, 1, id="one") == 2
        assert "cannot share" in caplog.text
        with pytest.raises(StoreError, match=r"open already in this process.*does not serve other processes"):
            await fleet.engine()
    assert path.with_name("orders.db.sock").read_text() == "precious"


@pytest.mark.parametrize("name", ["orders.db", "o" * 200 + ".db"])
async def test_a_path_that_is_longer_than_a_sockets_may_be_is_served_all_the_same(tmp_path: Path, name: str) -> None:
    deep = tmp_path.joinpath(*["folder" * 5] * 5) / name
    deep.parent.mkdir(parents=True)
    async with fleet_on(deep) as fleet:
        await fleet.engine(worker=False)
        assert socket_path(deep).exists()
        assert await (await fleet.engine()).run(adding, 1, id="one") == 2


async def test_a_symbolic_link_leads_to_the_same_socket(path: Path, tmp_path: Path) -> None:
    async with fleet_on(path) as fleet:
        await fleet.engine(worker=False)
        tmp_path.joinpath("folder").mkdir()
        link = tmp_path / "folder" / "link.db"
        link.symlink_to(path)
        async with AsyncEngine(f"sqlite:///{link}", workflows=[adding], activities=[add_one]) as second:
            assert await second.run(adding, 1, id="one") == 2


# --- who cannot be asked ------------------------------------------------------------------------------


async def test_an_owner_of_another_perdure_is_named_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet_on(path) as fleet:
        with monkeypatch.context() as older:
            older.setattr(ownership, "PROTOCOL", 0)
            await fleet.engine()
        with pytest.raises(StoreError, match="cannot share it with this one: run the same perdure"):
            await fleet.engine()


async def test_an_owner_that_takes_nobody_in_is_waited_for_and_then_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_file, "OPEN_WAIT_S", 0.2)
    monkeypatch.setattr(shared_file, "HELLO_S", 0.2)
    async with fleet_on(path) as fleet:
        await fleet.engine()
        Address(path).remove()
        with Address(path).listen(), pytest.raises(StoreError, match=r"orders\.db\.sock does not answer"):
            await fleet.engine()
        with pytest.raises(StoreError, match="Connection refused"):
            await fleet.engine()


async def test_a_closed_client_says_that_it_is_closed(path: Path) -> None:
    async with fleet_on(path) as fleet:
        await fleet.engine()
        second = await fleet.engine()
        await second.close()
        with pytest.raises(EngineClosedError):
            await second.start(adding, 1)


def test_two_blocking_engines_of_one_program_share_a_file(path: Path) -> None:
    def engine() -> Engine:
        return Engine(f"sqlite:///{path}", workflows=[adding], activities=[add_one])

    with engine() as first, engine() as second:
        assert second.run(adding, 1, id="one") == 2
        first.close()
        assert second.run(adding, 2, id="two") == 3


def test_an_engine_that_was_carried_along_by_a_fork_says_so_and_the_child_opens_its_own(path: Path) -> None:
    command = [sys.executable, "-m", "tests.embedded.forking_process", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True, cwd=ROOT).stdout
    told, *results = said.splitlines()
    assert "carried into" in told and "in each process its own" in told
    assert results == ["3", "4"]


def test_who_is_alone_loads_nothing_of_the_wire(path: Path) -> None:
    """What sharing costs who does not share: see also `python -m benchmarks.steps`."""
    engine = AsyncEngine(f"sqlite:///{path}")

    async def main() -> None:
        async with engine:
            await engine.run(adding, 1, id="one")
            found = engine._home._door  # type: ignore[union-attr]
            assert isinstance(found, door.Door)
            assert (found._transport, found._watching) == (None, None)

    asyncio.run(main())


async def test_who_has_much_in_hand_shares_the_work_with_the_others(path: Path) -> None:
    async with fleet_on(path) as fleet:
        first, _second = await fleet.engine(identity="first"), await fleet.engine(identity="second")
        handles = [await first.start(taking_long, id=f"{n}") for n in range(NEAR_IN_HAND + 3)]
        for _ in handles:
            assert await in_thread(lambda: began.acquire(timeout=PATIENCE_S))
        may_end.set()
        for handle in handles:
            await handle.result()
        histories = [await handle.history() for handle in handles]
        ran = Counter(event.activity_task_started_event_attributes.identity for events in histories for event in events)
        assert (ran["first"], ran["second"]) == (NEAR_IN_HAND, 3)


async def test_what_the_owner_does_not_know_is_done_by_who_does(path: Path) -> None:
    """A notebook beside a service; a new version beside the old one, which owns the file until it ends."""
    async with fleet_on(path) as fleet:
        first = await fleet.engine(workflows=[taking_long], activities=[take_long])
        second = await fleet.engine()
        assert (owns(first), owns(second)) == (True, False)
        async with asyncio.timeout(PATIENCE_S):
            assert await second.run(adding, 1, id="one") == 2
