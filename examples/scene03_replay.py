"""Scene 03: replay.

After a restart the code is run again from the top. Every call that is in the history hands back its recorded
result at once; the first one that is not is where work goes on. Code that would not do the same again is told so,
to the line.
"""

from __future__ import annotations

import random
from pathlib import Path

from stage import Stage, play, seen, show, step, title, until

from perdure import Engine, activity, call, workflow
from perdure.api.digest import digest

passes: list[str] = []  # how often the code came by: a plain list, of which no history knows
charges: list[str] = []  # how often the card was really charged


@activity(start_to_close_timeout="10s")
def charge(order_id: str) -> str:
    charges.append(order_id)
    return f"receipt for {order_id}"


@activity(start_to_close_timeout="10s")
def ship(order_id: str) -> str:
    return f"PD-{order_id}"


@workflow
def fulfil(order_id: str) -> str:
    passes.append("from the top")
    receipt = call(charge, order_id)
    passes.append(f"charged, {receipt}")
    workflow.sleep("2s")
    passes.append("slept")
    return call(ship, order_id)


def changed_code() -> object:
    @workflow(name="fulfil")
    def ships_first(order_id: str) -> str:
        tracking = call(ship, order_id)
        workflow.sleep("2s")
        call(charge, order_id)
        return tracking

    return ships_first


@workflow
def careless() -> float:
    return random.random()


def sleeps(engine: Engine, workflow_id: str) -> bool:
    return any(line.name == "TimerStarted" for line in digest(engine.get(workflow_id).history()))


def what_its_code_ran_into(engine: Engine, workflow_id: str) -> str:
    """The error as it stands in the history. The workflow stays open: mend the code, and it goes on."""
    failed = until(
        lambda: [line for line in digest(engine.get(workflow_id).history()) if line.name == "WorkflowTaskFailed"]
    )
    return failed[0].detail


def story(stage: Stage) -> None:
    title("Scene 03: replay")
    url = stage.url

    step("an engine runs the order until it sleeps, and is closed")
    with Engine(url, workflows=[fulfil]) as engine:
        engine.start(fulfil, "1001", id="order-1001")
        until(lambda: sleeps(engine, "order-1001"))
    first = list(passes)
    show(f"the code came by: {first}")

    step("another engine opens the file: the code runs again from the top")
    with Engine(url, workflows=[fulfil]) as engine:
        result = engine.run(fulfil, "1001", id="order-1001")
    second = passes[len(first) :]
    show(f"the code came by: {second}")
    seen("it ran again from the top", second[:2] == first == ["from the top", "charged, receipt for 1001"])
    seen("the recorded result was handed back: the card was charged once", charges == ["1001"])
    seen(f"and it went on where the history ended: {result}", second[2:] == ["slept"] and result == "PD-1001")

    step("code that asks the world for something which replay could not repeat")
    with Engine(url, workflows=[careless]) as engine:
        handle = engine.start(careless, id="careless")
        error = what_its_code_ran_into(engine, "careless")
        show(error)
        seen("the error says what to use instead", "workflow.random()" in error)
        handle.terminate("it is only an example")

    step("an order begun under code that charges first meets code that ships first")
    with Engine(url, workflows=[fulfil]) as engine:
        engine.start(fulfil, "1002", id="order-1002")
        until(lambda: sleeps(engine, "order-1002"))
    with Engine(url, workflows=[changed_code()]) as engine:
        error = what_its_code_ran_into(engine, "order-1002")
        show(error)
        seen("the error names the event and the command", "charge" in error and "ship" in error)
        seen("and the line of code", Path(__file__).name in error)

    step("the code is mended: the order goes on as if nothing had been")
    with Engine(url, workflows=[fulfil]) as engine:
        result = engine.run(fulfil, "1002", id="order-1002")
    seen(f"it is finished, and was charged once: {result}", result == "PD-1002" and charges == ["1001", "1002"])


if __name__ == "__main__":
    play(__file__, story)
