"""What a commit costs in the store alone.

Workflows of four activities are played through the engine once, on the memory store, and every
commit is recorded as it was handed over. Then the same commits are given to a store in batches of
1, 20 and 200, each batch from as many workflows, as group commit makes them. `busy` adds callbacks
that keep the event loop occupied beside it, as an engine under load does: what counts there is how
long a batch takes when its thread has to win the interpreter from a loop that never rests.

    python -m benchmarks.store_micro --workflows 2000 --store sqlite
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import structs

from benchmarks.engine_micro import Worker
from benchmarks.engine_micro import _load as play
from perdure.core.commit import Commit
from perdure.core.execution import decode, encode
from perdure.core.names import ExecutionKey
from perdure.engine import Engine
from perdure.frontend import WorkflowService
from perdure.stores.api import Outcome, Store
from perdure.stores.encoding import Written, encode_chain
from perdure.stores.memory import MemoryStore
from perdure.stores.sqlite import SqliteStore

BATCHES = (1, 20, 200)


class Recorder(MemoryStore):
    """Keeps a copy of every commit, by run."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: dict[ExecutionKey, list[Commit]] = {}

    async def commit(self, commits: Sequence[Commit]) -> Sequence[Written]:
        for commit in commits:
            assert commit.execution is not None
            copy = structs.replace(commit, execution=decode(encode(commit.execution)), dispatches=[], replies=[])
            self.commits.setdefault(commit.key, []).append(copy)
        return await super().commit(commits)


async def record(workflows: int) -> list[list[Commit]]:
    """The commits of each workflow, in order."""
    recorder = Recorder()
    engine = Engine(recorder)
    await engine.start()
    connection = WorkflowService(engine)
    worker = Worker(connection, 100)
    worker.start()
    await play(connection, 0, workflows, 200)
    await worker.stop()
    await engine.stop()
    return list(recorder.commits.values())


def batches(recorded: Sequence[Sequence[Commit]], size: int) -> Iterator[list[Commit]]:
    """The next commit of each of `size` workflows at a time; who is done makes room for another."""
    waiting = iter(recorded)
    playing: list[Iterator[Commit]] = []
    while True:
        batch: list[Commit] = []
        for lane in range(size):
            if lane == len(playing):
                playing.append(iter(next(waiting, ())))
            commit = next(playing[lane], None)
            if commit is None:
                playing[lane] = iter(next(waiting, ()))
                commit = next(playing[lane], None)
            if commit is not None:
                batch.append(commit)
        if not batch:
            return
        yield batch


async def occupy(stop: asyncio.Event) -> None:
    """Keep the loop busy, in callbacks of some 50 microseconds."""
    while not stop.is_set():
        sum(range(2_000))
        await asyncio.sleep(0)


async def measure(store: Store, recorded: Sequence[Sequence[Commit]], size: int, busy: bool) -> str:
    """One line of figures."""
    stop = asyncio.Event()
    load = asyncio.create_task(occupy(stop)) if busy else None
    times: list[float] = []
    count = 0
    cpu = time.process_time()
    for batch in batches(recorded, size):
        begin = time.perf_counter()
        outcomes = await store.commit(batch)
        times.append(time.perf_counter() - begin)
        assert set(outcomes) == {Outcome.APPLIED}
        count += len(batch)
    cpu = time.process_time() - cpu
    stop.set()
    if load is not None:
        await load
    times.sort()
    line = (
        f"{count / sum(times):>9,.0f} commits/s   batch p50 {times[len(times) // 2] * 1e3:7.3f} ms   "
        f"p99 {times[len(times) * 99 // 100] * 1e3:7.2f} ms"
    )
    return line if busy else f"{line}   CPU {cpu / count * 1e6:5.1f} us a commit"


def encoding_cost(recorded: Sequence[Sequence[Commit]]) -> float:
    """Microseconds of CPU to turn a commit into bytes, part of every figure."""
    begin = time.process_time()
    count = sum(len([encode_chain(commit) for commit in commits]) for commits in recorded)
    return (time.process_time() - begin) / count * 1e6


async def run(options: argparse.Namespace, directory: Path) -> None:
    """Record, then measure every batch size on a fresh store."""
    recorded = await record(options.workflows)
    commits = sum(map(len, recorded))
    print(f"{commits:,} commits of {len(recorded):,} workflows, encoding {encoding_cost(recorded):.1f} us a commit")
    for busy in (False, True):
        for size in BATCHES:
            share = recorded[: max(20, options.workflows * min(size, 100) // 100) // (10 if busy else 1)]
            path = directory / f"batch-{size}-{busy}.db"
            store: Store = MemoryStore() if options.store == "memory" else SqliteStore(path)
            await store.open()
            figures = await measure(store, share, size, busy)
            await store.close()
            print(f"{options.store} {'busy loop' if busy else 'idle loop'} batch {size:>4}: {figures}")
            if path.exists() and not busy and size == BATCHES[-1]:
                print(f"{path.stat().st_size / sum(map(len, share)):,.0f} bytes a commit on disk")


def main() -> None:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=2_000)
    parser.add_argument("--store", choices=("memory", "sqlite"), default="sqlite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(options, Path(directory)))


if __name__ == "__main__":
    main()
