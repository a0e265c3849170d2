"""Scene 07: durable timers.

A thousand customers are welcomed, and asked thirty days later how they like their lamp. For those thirty days each
of them is a row in a file: no thread waits, no memory is held, and processes come and go. The processes of this scene
are real; only the clock that they are given says that it is later.
"""

from __future__ import annotations

import resource
import sys
import threading
import time

from stage import Stage, play, seen, show, step, title, until

from perdure import Engine, activity, call, workflow
from perdure.embedded import EngineSeams, seamed
from perdure.stores.databases import reading

CUSTOMERS = 1000
DAY_NS = 86_400 * 10**9


@activity(start_to_close_timeout="10s")
def mail(customer: str, text: str) -> str:
    return f"{text} {customer}?"


@workflow
def subscription(customer: str) -> str:
    call(mail, customer, "Welcome! Has your lamp arrived,")
    workflow.sleep(days=30)
    return call(mail, customer, "How do you like your lamp,")


class LaterClock:
    """The time some days from now."""

    def __init__(self, days: float) -> None:
        self._ahead_ns = round(days * DAY_NS)

    def now_ns(self) -> int:
        return time.time_ns() + self._ahead_ns


def later(url: str, days: float) -> Engine:
    return seamed(Engine, EngineSeams(clock=LaterClock(days)), url)


def welcome(url: str) -> None:
    with later(url, days=0) as engine:
        for number in range(CUSTOMERS):
            engine.start(subscription, f"customer {number}", id=f"subscription-{number}")
        print("started all", flush=True)
        threading.Event().wait()  # until it is killed


def look(url: str, days: str) -> None:
    """Opens the store on that day, waits a moment, and tells what it costs and who is still asleep."""
    began = time.monotonic()
    with later(url, float(days)) as engine:
        print("open after", round((time.monotonic() - began) * 1000), flush=True)
        time.sleep(0.5)
        print("asleep", engine.count('ExecutionStatus = "Running"'))
        print("threads", threading.active_count())
        print(
            "memory",
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 1 << 20),
        )


def wake(url: str, days: str) -> None:
    """Opens the store on that day and waits until nobody sleeps any more."""
    with later(url, float(days)) as engine:
        began = time.monotonic()
        until(lambda: engine.count('ExecutionStatus = "Running"') == 0, timeout_s=60)
        print("woken in", round((time.monotonic() - began) * 1000), flush=True)
        print("says", engine.get("subscription-7").result(), flush=True)


def everybody_sleeps(url: str) -> bool:
    """Looked up in the file, not in the engine."""
    with reading(url) as store:
        summaries = store.executions(open_only=True)
        pending = [store.load(summary.key.workflow_id) for summary in summaries]
    return len(pending) == CUSTOMERS and all(state is not None and state.timers for state in pending)


def figures(stage: Stage, url: str, days: float) -> dict[str, int]:
    process = stage.process(look, url, days)
    process.wait(30)
    return {name: int(value) for name, _, value in (line.rpartition(" ") for line in process.lines)}


def story(stage: Stage) -> None:
    title("Scene 07: durable timers")
    url, empty = stage.url, f"sqlite:///{stage.directory}/empty.db"

    step(f"{CUSTOMERS} workflows are started; each sleeps for 30 days; then their process is killed")
    process = stage.process(welcome, url)
    process.wait_line("started all")
    until(lambda: everybody_sleeps(url))
    process.kill_9()
    show(f"kill -9 {process.pid}")
    seen("on disk: 1000 open executions, each with its timer", everybody_sleeps(url))

    step("day 29: a new process opens the file, and one an empty file, to compare")
    asleep, nothing = figures(stage, url, 29), figures(stage, empty, 29)
    for what, costs in (("with 1000 asleep", asleep), ("with an empty file", nothing)):
        show(f"{what}: open after {costs['open after']} ms, {costs['threads']} threads, {costs['memory']} MB")
    seen("nobody was woken early", asleep["asleep"] == CUSTOMERS)
    seen("no thread sleeps for them: fewer than ten in all", asleep["threads"] < 10)
    seen("no memory is held for them: as much as for nobody, to 10 MB", asleep["memory"] - nothing["memory"] < 10)

    step("day 30 and a minute: another process opens the file")
    process = stage.process(wake, url, 30 + 1 / 1440)
    milliseconds = process.wait_line("woken in ")
    show(f"all are awake and finished within {milliseconds} ms; one of them asks: {process.wait_line('says ')!r}")
    with reading(url) as store:
        finished = [summary for summary in store.executions() if summary.closed_at_ns is not None]
    seen("all 1000 were asked after thirty days", len(finished) == CUSTOMERS)
    seen(
        "on the thirtieth day", all(s.closed_at_ns - s.started_at_ns > 30 * DAY_NS for s in finished if s.closed_at_ns)
    )


if __name__ == "__main__":
    play(__file__, story, welcome, look, wake)
