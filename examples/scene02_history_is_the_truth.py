"""Scene 02: the event history is the source of truth, memory is a cache.

An order of four steps is worked on by five processes, four of them killed with SIGKILL in the middle of a step.
After every death a SQLite database is all that is left, and the state of the order is the fold of the events in it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from stage import Stage, play, seen, show, step, title

from perdure import Engine, Retry, activity, call, workflow
from perdure.api.digest import digest
from perdure.stores.databases import reading
from perdure.stores.folding import differences, fold

STEPS = ["charge the card", "reserve the lamp", "pack it", "hand it to the carrier"]


@activity(start_to_close_timeout="60s", retry=Retry(initial_interval="50ms"))
def do(what: str) -> str:
    """Whoever comes first dies here; the next one gets it done."""
    begun = Path(os.environ["SCENE"]) / what.replace(" ", "_")
    if not begun.exists():
        begun.touch()
        print(f"begins to {what}", flush=True)
        threading.Event().wait()
    return f"{what}: done by process {os.getpid()}"


@workflow
def order(steps: list[str]) -> list[str]:
    return [call(do, what) for what in steps]


def engine(url: str) -> None:
    with Engine(url) as engine:
        for line in engine.run(order, STEPS, id="order-1001"):
            print("finished", line, flush=True)


def look_at(url: str) -> int:
    """What the file holds, read with no engine anywhere. Returns how many results are recorded in it."""
    with reading(url) as store:
        stored = store.load("order-1001")
        assert stored is not None
        events = store.history(stored.key)
    recorded = [line for line in digest(events) if line.name == "ActivityTaskCompleted"]
    for line in recorded:
        show(f"event {line.event_id:2d}  {line.name}  {line.detail}")
    same = not differences(stored, fold(stored.key, events))
    seen(f"{len(events)} events, folded again from the first, are the stored state", same)
    return len(recorded)


def story(stage: Stage) -> None:
    title("Scene 02: the event history is the source of truth")
    url = stage.url

    for number, what in enumerate(STEPS):
        step(f"a process begins to {what}")
        victim = stage.process(engine, url, SCENE=str(stage.directory))
        victim.wait_line(f"begins to {what}")
        victim.kill_9()
        show(f"kill -9 {victim.pid}: its memory is gone")
        seen(f"the results of all {number} finished steps are on disk", look_at(url) == number)

    step("a fifth process, with nothing but the file, finishes the order")
    last = stage.process(engine, url, SCENE=str(stage.directory))
    last.wait(30)
    results = [line.removeprefix("finished ") for line in last.lines]
    for line in results:
        show(line)
    seen("every step is done, in order", [line.split(":")[0] for line in results] == STEPS)
    seen("each by another process: no memory was needed", len({line.split()[-1] for line in results}) == len(STEPS))
    look_at(url)


if __name__ == "__main__":
    play(__file__, story, engine)
