"""Where a workflow's CPU time goes, by stage, over all threads.

A sampler thread wakes about every millisecond, asks the operating system how much CPU time each
thread has used since, and books it on the stage that the thread's innermost frame of ours belongs
to. The sampler's own time is left out. With the interpreter's switch interval set low the samples
fall evenly enough; a stage of a few percent is a rough figure, a stage of a third is a fact.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

from rich.table import Table

STAGES: tuple[tuple[str, str], ...] = (
    ("decide: the law folds commands into a commit", "perdure.core."),
    ("encode: events and snapshot to bytes", "perdure.stores.encoding"),
    ("encode: events and snapshot to bytes", "perdure.api.history"),
    ("store: SQL, transactions, fsync", "perdure.stores."),
    ("dispatch: mailboxes, committer, matching", "perdure.engine."),
    ("frontend: requests in, responses out", "perdure.frontend."),
    ("replay: history in, commands out, workflow code", "perdure.sdk.replay."),
    ("replay: history in, commands out, workflow code", "perdure.sdk.workflow.workflow"),
    ("replay: history in, commands out, workflow code", "perdure.sdk.guard"),
    ("payloads: values to bytes and back", "perdure.sdk.convert."),
    ("worker: polls, activity attempts, answers", "perdure.sdk."),
    ("embedded: from the caller to the engine and back", "perdure.embedded"),
    ("activities", "benchmarks.perdure_order"),
    ("load generator", "benchmarks."),
)
OTHER = "event loop, threads, all else"
OUTSIDE = {"benchmarks.stages"}
PERIOD_S = 0.0007


def stage_of(frame: FrameType | None) -> str:
    """The stage of the innermost frame that belongs to one."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == "__main__":
            module = "benchmarks.perdure_order"
        for stage, prefix in STAGES:
            if module.startswith(prefix):
                return stage
        frame = frame.f_back
    return OTHER


class Sampler:
    """Books the CPU time of every thread but its own, between `start` and `stop`."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._used: dict[int, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stage-sampler", daemon=True)

    def start(self) -> None:
        sys.setswitchinterval(0.0001)
        self._book(count=False)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            self._book(count=True)

    def _book(self, *, count: bool) -> None:
        frames = sys._current_frames()
        for thread in threading.enumerate():
            ident = thread.ident
            if ident is None or thread is self._thread:
                continue
            used = _cpu_seconds(ident)
            spent = used - self._used.get(ident, used if not count else 0.0)
            self._used[ident] = used
            if count and spent > 0:
                self.seconds[stage_of(frames.get(ident))] += spent


def _cpu_seconds(ident: int) -> float:
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(ident))
    except OSError:
        return 0.0  # the thread ended between being listed and being asked


def profile(style: str, count: int, concurrency: int, directory: str) -> dict[str, float]:
    """CPU milliseconds per workflow, by stage, most first."""
    from benchmarks import perdure_order

    sampler = Sampler()
    sampler.start()
    perdure_order.main(style, count, concurrency, directory)
    sampler.stop()
    booked = sorted(sampler.seconds.items(), key=lambda item: -item[1])
    return {stage: round(seconds * 1e3 / count, 4) for stage, seconds in booked}


def profile_in_process_of_its_own(style: str = "async", count: int = 4000, concurrency: int = 50) -> dict[str, float]:
    """As `profile`, where nothing of the caller is in the way."""
    with tempfile.TemporaryDirectory(prefix="perdure-stages-") as directory:
        command = [sys.executable, "-m", "benchmarks.stages", style, str(count), str(concurrency), directory]
        done = subprocess.run(
            command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=True, timeout=600
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def as_table(profile: dict[str, float], title: str) -> Table:
    """The stages with their shares."""
    table = Table(title=title)
    table.add_column("stage")
    table.add_column("CPU ms a workflow", justify="right")
    table.add_column("share", justify="right")
    total = sum(profile.values())
    for stage, milliseconds in profile.items():
        table.add_row(stage, f"{milliseconds:.3f}", f"{milliseconds / total:.0%}")
    table.add_section()
    table.add_row("all (sampling included)", f"{total:.3f}", "")
    return table


if __name__ == "__main__":
    print(json.dumps(profile(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
