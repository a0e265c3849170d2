"""A process that owns a store until it is killed. Told what to do by its arguments, says on stdout what is done.

python -m tests.stores.worker_process hold PATH           owns the file
python -m tests.stores.worker_process hold-and-fork PATH  … and leaves a child behind that inherits all
python -m tests.stores.worker_process live:KEY,… PATH     workers of these keys live in it; says who else lives
python -m tests.stores.worker_process commit PATH|URL     commits one run for ever, a line for each that returned
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from perdure.stores.open import open_store
from perdure.stores.sqlite import SqliteStore
from perdure.stores.sqlite.lock_file import open_lock_file
from tests.stores.given import Run


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def work(task: str, path: str) -> None:
    store = open_store(path) if "://" in path else SqliteStore(path)
    await store.open()
    if task == "commit":
        run = Run()
        while True:
            await store.commit([run.commit(events=2, add=[run.task(run.execution.next_event_id)])])
            say(str(run.execution.version))
    child = os.fork() if task == "hold-and-fork" else None
    if child == 0:
        signal.pause()
    say(str(child or "open"))
    await asyncio.Event().wait()


def live(keys: str, path: str) -> None:
    locks = open_lock_file(Path(path), make=True)
    for key in keys.split(","):
        locks.enter(key)
    say(f"{'owned' if locks.is_taken() else 'free'}, {' '.join(sorted(locks.living()))}")
    signal.pause()


if __name__ == "__main__":
    if sys.argv[1].startswith("live:"):
        live(sys.argv[1].removeprefix("live:"), sys.argv[2])
    asyncio.run(work(*sys.argv[1:3]))
