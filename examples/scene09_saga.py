"""Scene 09: saga.

The card is charged, the lamp is reserved, and then no carrier takes the parcel: what was done is undone, in reverse.
But the refund service is down for longer than its retries last. So the order stays open and waits for a person; the
pager rings. Ada decides to try again. The money goes back once, and who decided and why is in the history.
"""

from __future__ import annotations

from stage import Stage, play, seen, show, step, title, until

from perdure import ApplicationError, Engine, Retry, Saga, WorkflowFailedError, WorkflowStatus, activity, call, workflow
from perdure.api.digest import digest
from perdure.interventions import Intervention

IMPATIENT = Retry(initial_interval="50ms", maximum_attempts=3)

refunds_are_down = True
effects: list[str] = []  # what really happened to money and goods
pager: list[Intervention] = []


@activity(start_to_close_timeout="10s")
def charge(order: str) -> None:
    effects.append(f"charged {order}")


@activity(start_to_close_timeout="10s")
def reserve(order: str) -> None:
    effects.append(f"reserved {order}")


@activity(start_to_close_timeout="10s", retry=Retry(maximum_attempts=1))
def ship(order: str) -> str:
    if order == "1001":
        raise ApplicationError("no carrier takes it", type="NoCarrier")
    effects.append(f"shipped {order}")
    return f"PD-{order}"


@activity(start_to_close_timeout="10s")
def release(order: str) -> None:
    effects.append(f"released {order}")


@activity(start_to_close_timeout="10s", retry=IMPATIENT)
def refund(order: str) -> None:
    if refunds_are_down:
        raise ApplicationError("503 from the refund service")
    effects.append(f"refunded {order}")


@workflow
def fulfil(order: str) -> str:
    with Saga() as saga:
        call(charge, order)
        saga.compensate(refund, order)
        call(reserve, order)
        saga.compensate(release, order)
        return call(ship, order)


def settled(engine: Engine, workflow_id: str) -> dict[str, bool]:
    """What a history says of an order: charged, fulfilled, refunded."""
    lines = digest(engine.get(workflow_id).history())
    completed = {line.subject for line in lines if line.name == "ActivityTaskCompleted"}
    return {name: name in completed for name in ("charge", "ship", "refund")}


def unreconciled(engine: Engine) -> list[str]:
    """Orders that are charged and neither fulfilled nor refunded: what an accountant asks for in the evening."""
    orders = [(summary.id, settled(engine, summary.id)) for summary in engine.list()]
    return [name for name, was in orders if was["charge"] and not was["ship"] and not was["refund"]]


def waiting(engine: Engine, other_than: str = "") -> Intervention:
    """The next entry that waits for a decision."""
    found = until(lambda: [entry for entry in engine.interventions.list() if entry.id != other_than])
    return found[0]


def decisions(engine: Engine, workflow_id: str) -> list[str]:
    """The signals of a history: who decided what, and why."""
    events = engine.get(workflow_id).history()
    signals = [event.workflow_execution_signaled_event_attributes for event in events]
    return [payload.data.decode() for signal in signals for payload in signal.input.payloads]


def story(stage: Stage) -> None:
    global refunds_are_down
    title("Scene 09: saga")
    url = stage.url

    step("order 1001 is charged and reserved; no carrier takes it; refunds are down")
    with Engine(url, alert=pager.append) as engine:
        engine.start(fulfil, "1001", id="order-1001")
        engine.run(fulfil, "1002", id="order-1002")
        entry = waiting(engine)
        until(lambda: pager)
        show(f"the pager: {pager[0].step} of {pager[0].workflow_id}: {pager[0].error}")
        ours = [effect for effect in effects if "1001" in effect]
        seen("undone in reverse: the lamp is released first", ours[-1] == "released 1001")
        seen("the refund waits for a person, and the pager rang", entry.step == "refund" and pager == [entry])
        seen("the order is open", engine.get("order-1001").describe().status is WorkflowStatus.RUNNING)
        show(f"charged, neither fulfilled nor refunded: {unreconciled(engine)}")
        seen("the reconciliation finds exactly this order", unreconciled(engine) == ["order-1001"])

    step("the engine is closed and opened again: the entry is still there")
    with Engine(url, alert=pager.append) as engine:
        seen("nothing that waits is forgotten", engine.interventions.list() == [entry])

        step("Ada tries again too early")
        engine.interventions.retry(entry, who="Ada", why="the status page is green")
        again = waiting(engine, other_than=entry.id)
        seen("it fails again, and waits again, as another entry", again.id != entry.id)

        step("the service is back; Ada tries again")
        refunds_are_down = False
        engine.interventions.retry(again, who="Ada", why="refunds answered my own test")
        try:
            engine.get("order-1001").result()
        except WorkflowFailedError as error:
            show(f"the order ended: {error.cause}")
        show(f"effects: {', '.join(effect for effect in effects if '1001' in effect)}")
        seen("refunded once", effects.count("refunded 1001") == 1)
        seen("the order failed with its first error", "no carrier" in str(engine_error(engine)))
        seen("nothing waits any more, and all money is accounted for", not engine.interventions.list())
        seen("the reconciliation finds nothing", unreconciled(engine) == [])
        for line in decisions(engine, "order-1001"):
            show(line)
        seen(
            "who decided and why is in the history",
            "refunds answered my own test" in decisions(engine, "order-1001")[1],
        )


def engine_error(engine: Engine) -> str:
    failed = [line for line in digest(engine.get("order-1001").history()) if line.name == "WorkflowExecutionFailed"]
    return failed[0].detail


if __name__ == "__main__":
    play(__file__, story)
