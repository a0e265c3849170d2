"""A process that works through orders, some of which cannot be shipped; killed at random by its test.

    python -m tests.models.saga_process URL EFFECTS ORDERS

What happens to the world is a line of the file EFFECTS: "do|undo ORDER STEP KEY".
"""

from __future__ import annotations

import os
import sys

from perdure import (
    ApplicationError,
    Engine,
    IdReusePolicy,
    Retry,
    Saga,
    WorkflowAlreadyStartedError,
    WorkflowFailedError,
    activity,
    call,
    workflow,
)

STEPS = 4
SOON = Retry(initial_interval="10ms")
effects = -1


def breaks_at(order: int) -> int:
    """The step that an order cannot do; STEPS: it can do them all."""
    return order % (STEPS + 1)


def take_effect(what: str, order: int, step: int) -> None:
    """One line, in one write."""
    os.write(effects, f"{what} {order} {step} {activity.info().idempotency_key}\n".encode())


@activity(name="kills.do", start_to_close_timeout="30s", retry=SOON)
def do(order: int, step: int) -> None:
    if step == breaks_at(order):
        raise ApplicationError("cannot be done", non_retryable=True)
    take_effect("do", order, step)


@activity(name="kills.undo", start_to_close_timeout="30s", retry=SOON)
def undo(order: int, step: int) -> None:
    take_effect("undo", order, step)


@workflow(name="kills.order")
def order(number: int) -> None:
    with Saga() as saga:
        for step in range(STEPS):
            call(do, number, step)
            saga.compensate(undo, number, step)


def main(url: str, file: str, orders: int) -> None:
    """Start what is not started, and end when nothing is open."""
    global effects
    effects = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Engine(url, workflows=[order], activities=[do, undo]) as engine:
        sys.stdout.write("open\n")
        sys.stdout.flush()
        for number in range(orders):
            try:
                engine.start(order, number, id=f"order-{number}", id_reuse_policy=IdReusePolicy.REJECT_DUPLICATE)
            except WorkflowAlreadyStartedError:
                continue  # by a process that was killed
        for number in range(orders):
            try:
                engine.get(f"order-{number}").result()
            except WorkflowFailedError:
                continue  # as most of them must


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
