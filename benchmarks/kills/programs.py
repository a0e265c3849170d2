"""The workflows of the campaign: one for every way in which something is said to a workflow, or by one."""

from __future__ import annotations

import os

from perdure import (
    ApplicationError,
    ChildWorkflowError,
    Retry,
    Saga,
    activity,
    call,
    call_child,
    start,
    start_child,
    workflow,
)

END = -1
"""The signal that ends a workflow."""
STEPS = 4
SOON = Retry(initial_interval="10ms")


class Effects:
    """The world: a file, one line in one write for each effect."""

    file = -1

    @classmethod
    def open(cls, path: str) -> None:
        cls.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@activity(name="kills.effect", start_to_close_timeout="60s", retry=SOON)
def effect(what: str) -> str:
    """Happens once by its key, which is the same on every attempt."""
    os.write(Effects.file, f"{activity.info().idempotency_key} {what}\n".encode())
    return what


@activity(name="kills.step", start_to_close_timeout="60s", retry=SOON)
def step(order: int, number: int) -> None:
    if number == breaks_at(order):
        raise ApplicationError("cannot be done", non_retryable=True)
    os.write(Effects.file, f"{activity.info().idempotency_key} do-{order}-{number}\n".encode())


def breaks_at(order: int) -> int:
    """The step that an order cannot do; STEPS: it can do them all."""
    return order % (STEPS + 1)


# --- signals ----------------------------------------------------------------------------------------


@workflow(name="kills.handler")
def handler() -> list[int]:
    """A handler that is a function."""
    told: list[int] = []
    workflow.on_signal("tell", told.append)
    workflow.wait_condition(lambda: END in told)
    return told


@workflow(name="kills.waiter")
def waiter() -> list[int]:
    """Waits for each; also the one whom others signal, and the one that a signal starts."""
    told: list[int] = []
    while END not in told:
        told.append(workflow.wait_signal("tell"))
    return told


@workflow(name="kills.actor")
class Actor:
    """A class whose handler does something before it is content."""

    def __init__(self) -> None:
        self.told: list[int] = []

    @workflow.run
    async def run(self) -> list[int]:
        await workflow.wait_condition(lambda: END in self.told)
        return self.told

    @workflow.signal(unfinished="wait")
    async def tell(self, number: int) -> None:
        await start(effect, f"{workflow.info().workflow_id}-{number}")
        self.told.append(number)


@workflow(name="kills.relay")
def relay(target: str) -> int:
    """Passes on what it is told, to another workflow."""
    count = 0
    while True:
        number = workflow.wait_signal("tell")
        workflow.external(target).signal("tell", number)
        count += 1
        if number == END:
            return count


@workflow(name="kills.endless")
def endless(told: list[int]) -> list[int]:
    """Begins a new run after every second signal."""
    fresh: list[int] = []
    workflow.on_signal("tell", fresh.append)
    workflow.wait_condition(lambda: len(fresh) >= 2 or END in fresh)
    told = [*told, *fresh]
    if END in told:
        return told
    workflow.continue_as_new(told)


@workflow(name="kills.pager")
def pager(told: list[int]) -> list[int]:
    """The same by waiting; what it did not wait for goes on to the next run."""
    for _ in range(2):
        if END not in told:
            told.append(workflow.wait_signal("tell"))
    if END in told:
        return told
    workflow.continue_as_new(told)


# --- updates ----------------------------------------------------------------------------------------


@workflow(name="kills.account")
class Account:
    """Updates with an effect; also the one that an update starts."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.ended = False

    @workflow.run
    def run(self) -> list[int]:
        workflow.wait_condition(lambda: self.ended)
        return self.told

    @workflow.update(unfinished="wait")
    def add(self, number: int) -> int:
        call(effect, f"{workflow.info().workflow_id}-{number}")
        self.told.append(number)
        return number * 10

    @add.validator
    def check(self, number: int) -> None:
        if number < 0:
            raise ApplicationError("less than nothing")

    @workflow.signal
    def tell(self, number: int) -> None:
        self.ended = number == END


# --- sagas, children ----------------------------------------------------------------------------------


@workflow(name="kills.saga")
def saga(order: int) -> str:
    with Saga() as undo:
        for number in range(STEPS):
            call(step, order, number)
            undo.compensate(effect, f"undo-{order}-{number}")
    return "done"


@workflow(name="kills.kid")
def kid(what: str) -> str:
    return call(effect, what)


@workflow(name="kills.sleeper")
def sleeper(parent: str) -> str:
    workflow.external(parent).signal("awake")
    workflow.sleep(days=1)
    return "slept"


@workflow(name="kills.canceller")
def canceller(target: str) -> str:
    workflow.external(target).cancel()
    return "cancelled"


@workflow(name="kills.chain")
def chain(links: int, done: int) -> int:
    """A child that ends as another run than it began."""
    call(effect, f"{workflow.info().workflow_id}-{done}")
    if links:
        workflow.continue_as_new(links - 1, done + 1)
    return done


@workflow(name="kills.family")
def family() -> list[str]:
    """Children that end, that are cancelled by a third, that are signalled, that continue as new."""
    me = workflow.info().workflow_id
    kids = [start_child(kid, f"{me}-kid-{n}", id=f"{me}-kid-{n}") for n in range(2)]
    asleep = start_child(sleeper, me, id=f"{me}-sleeper")
    ear = start_child(waiter, id=f"{me}-ear")
    links = start_child(chain, 1, 0, id=f"{me}-chain")
    ear.signal("tell", 7)
    workflow.wait_signal("awake")
    said = [call_child(canceller, f"{me}-sleeper", id=f"{me}-canceller")]
    try:
        said.append(asleep.result())
    except ChildWorkflowError as error:
        said.append(type(error.cause).__name__)
    ear.signal("tell", END)
    return [*said, *(one.result() for one in kids), str(ear.result()), str(links.result())]


WORKFLOWS = [handler, waiter, Actor, relay, endless, pager, Account, saga, kid, sleeper, canceller, chain, family]
ACTIVITIES = [effect, step]
