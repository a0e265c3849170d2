"""Scene 07: durable timers.

A thousand customers are welcomed, and asked thirty days later how they like their lamp. For thirty days each of them is a
row in a file: no thread waits, no memory is held, and the process may be killed as often as one likes.
"""

from __future__ import annotations

import resource
import threading
import time

from stage import Stage, play, seen, show, step, title

from perdure import Engine, activity, call, workflow

CUSTOMERS = 1000
DAY_NS = 86_400 * 10**9


@activity(start_to_close="10s")
def mail(customer: str, text: str) -> str:
    return f"{text} {customer}"


@workflow
def subscription(customer: str) -> str:
    call(mail, customer, "Welcome,")
    workflow.sleep(days=30)
    return call(mail, customer, "How do you like your lamp,")


class LaterClock:
    """The time some days from now: what a person would call waiting."""

    def __init__(self, days: float) -> None:
        self._ahead_ns = round(days * DAY_NS)

    def now_ns(self) -> int:
        return time.time_ns() + self._ahead_ns


def asleep(engine: Engine) -> int:
    return engine.count().get("RUNNING", 0)
