"""Scene 10: child workflows, and a workflow that never ends.

An order is sent in three parcels. Each parcel is a workflow of its own, with its own address and its own history;
one is lost, and the order sends it again. Then an electricity meter is read for ever: whenever its history has become
long the run ends, and the next one of the same id begins with an empty history and what the last one knew. People
send it payments all the while, and none is lost in between.

    python examples/scene10_children_and_runs_without_end.py --iterations 1000000
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from dataclasses import dataclass

from stage import Stage, play, seen, show, step, title, until

from perdure import Engine, activity, call, start, start_child, workflow
from perdure.api.digest import digest
from perdure.errors import ApplicationError, ChildWorkflowError, WorkflowNotFoundError

AT_ONCE = 50
iterations = 6_000

# --- children --------------------------------------------------------------------------------------


@activity(start_to_close_timeout="10s")
def pack(parcel: str) -> str:
    return f"PD-{parcel}"


@workflow
def send_parcel(parcel: str) -> str:
    tracking = call(pack, parcel)
    if workflow.wait_signal("carrier") == "lost":
        raise ApplicationError(f"{tracking} fell off a ship", type="Lost")
    return f"{tracking} delivered"


@workflow
def ask_how_it_was(order: str) -> str:
    workflow.sleep(days=30)
    return f"how was order {order}?"


@workflow
def send_order(order: str, parcels: int) -> list[str]:
    children = [start_child(send_parcel, f"{order}/{n}", id=f"parcel-{order}-{n}") for n in range(1, parcels + 1)]
    delivered: list[str] = []
    for child in children:
        try:
            delivered.append(child.result())
        except ChildWorkflowError as error:
            workflow.logger.info("%s: %s", child.id, error.cause)
            again = start_child(send_parcel, f"{order}/again", id=f"{child.id}-again")
            delivered.append(again.result())
    survey = start_child(ask_how_it_was, order, id=f"survey-{order}", parent_close_policy="abandon")
    workflow.wait_condition(lambda: survey.run_id)  # it is on its way; the order need not wait for it
    return delivered


# --- without end -----------------------------------------------------------------------------------


@dataclass
class Account:
    """What one run of the meter hands to the next."""

    readings: int = 0
    kwh: int = 0
    payments: int = 0
    cents: int = 0
    runs: int = 1
    longest: int = 0


@activity(start_to_close_timeout="10s")
async def read_meter(reading: int) -> int:
    return reading % 7


@workflow
class Meter:
    def __init__(self, account: Account, stop_at: int) -> None:
        self.account = account

    @workflow.run
    def run(self, account: Account, stop_at: int) -> Account:
        while account.readings < stop_at:
            if workflow.info().continue_as_new_suggested:
                account.runs += 1
                account.longest = max(account.longest, workflow.info().history_length)
                workflow.continue_as_new(account, stop_at)
            first = account.readings
            handles = [start(read_meter, reading) for reading in range(first, min(first + AT_ONCE, stop_at))]
            account.kwh += sum(workflow.wait_all(*handles))
            account.readings += len(handles)
        return account

    @workflow.signal
    def pay(self, cents: int) -> None:
        self.account.payments += 1
        self.account.cents += cents


class Customer(threading.Thread):
    """Pays a cent now and then until the meter is gone, and keeps count of what was acknowledged."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self.paid = 0
        self.is_gone = False

    def run(self) -> None:
        while not self.is_gone:
            try:
                self._engine.get("meter-7").signal(Meter.pay, 1)
            except WorkflowNotFoundError:
                self.is_gone = True
            else:
                self.paid += 1
                time.sleep(0.01)


# --- the story -------------------------------------------------------------------------------------


def events(engine: Engine, workflow_id: str) -> list[str]:
    return [line.name for line in digest(engine.get(workflow_id).history())]


def awaits_carrier(engine: Engine, parcel: str) -> bool:
    """Whether it has been packed."""
    running = {summary.id for summary in engine.list()}
    return parcel in running and events(engine, parcel).count("WorkflowTaskCompleted") == 2


def parcels(engine: Engine) -> None:
    step("order 1001 goes out in three parcels, each a workflow with an address of its own")
    order = engine.start(send_order, "1001", 3, id="order-1001")
    sent = [f"parcel-1001-{n}" for n in (1, 2, 3)]
    until(lambda: all(awaits_carrier(engine, parcel) for parcel in sent))
    show(f"running: {', '.join(sorted(summary.id for summary in engine.list()))}")
    seen("four workflows run, with four histories", engine.count('ExecutionStatus = "Running"') == 4)
    seen("the order's history has no step of theirs", "ActivityTaskScheduled" not in events(engine, "order-1001"))

    step("the carrier reports: delivered, lost, delivered")
    for parcel, news in zip(sent, ("delivered", "lost", "delivered"), strict=True):
        engine.get(parcel).signal("carrier", news)
    until(lambda: awaits_carrier(engine, "parcel-1001-2-again"))
    failed = next(
        line for line in digest(engine.get("order-1001").history()) if line.name == "ChildWorkflowExecutionFailed"
    )
    show(f"the order is told: {failed.subject or 'the second parcel'} failed: {failed.detail}")
    engine.get("parcel-1001-2-again").signal("carrier", "delivered")
    delivered = order.result()
    for line in delivered:
        show(line)
    seen("the lost one was sent again, the others were not", delivered[1] == "PD-1001/again delivered")
    survey = engine.get("survey-1001").describe()
    seen("the order has ended, and a child that was let go sleeps on for 30 days", survey.closed_at is None)


def meter(engine: Engine) -> None:
    step(f"a meter is read {iterations:,} times, {AT_ONCE} at once, while its customer pays")
    began = time.monotonic()
    handle = engine.start(Meter, Account(), iterations, id="meter-7")
    customer = Customer(engine)
    customer.start()
    account = handle.result()
    seconds = time.monotonic() - began
    customer.join()
    runs = [summary for summary in engine.list(limit=100_000) if summary.id == "meter-7"]
    longest = max(summary.history_length for summary in runs)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 1 << 20)
    show(f"{account.readings:,} readings in {seconds:,.1f} s, {account.readings / seconds:,.0f}/s")
    show(f"{len(runs)} runs of one id; the longest history has {longest:,} events; {memory} MB of memory at most")
    show(f"{customer.paid:,} payments were acknowledged, {account.payments:,} have arrived")
    seen("every reading was made once", account.readings == iterations and account.kwh == sum_of_readings())
    seen("under one id, as several runs", len(runs) == account.runs > 1)
    seen("each ended soon after it was suggested, at 4,096 events", longest < 2 * 4096)
    seen("no payment was lost or doubled from one run to the next", account.payments == customer.paid > 0)


def sum_of_readings() -> int:
    return sum(reading % 7 for reading in range(iterations))


def story(stage: Stage) -> None:
    title("Scene 10: child workflows, and a workflow that never ends")
    with Engine(stage.url) as engine:
        parcels(engine)
        meter(engine)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--iterations"]:
        iterations = int(sys.argv[2])
        del sys.argv[1:]
    play(__file__, story)
