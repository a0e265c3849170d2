"""Scene 04: activities.

Workflow code decides, activities do. A decision leaves the workflow as a command and becomes an event; the
effect is the activity's, its result becomes an event too, and what is recorded is never done again.
"""

from __future__ import annotations

from pathlib import Path

from stage import Stage, play, seen, show, step, title, until

from perdure import Engine, activity, call, workflow
from perdure.api.digest import digest

effects = Path()  # the outside world: a file that activities append to


@activity(start_to_close_timeout="10s")
def charge_card(cents: int) -> str:
    with effects.open("a") as ledger:
        ledger.write(f"charged ${cents / 100:.2f}\n")
    return "receipt 1"


@workflow
def fulfil(cents: int) -> str:
    receipt = call(charge_card, cents)
    workflow.sleep("50ms")
    return receipt


@workflow
def does_it_itself(cents: int) -> None:
    with open(effects, "a") as ledger:
        ledger.write(f"charged ${cents / 100:.2f}\n")


def story(stage: Stage) -> None:
    global effects
    effects = stage.directory / "ledger.txt"
    url = stage.url
    title("Scene 04: activities")

    step("a command of the workflow becomes an event, and so does the activity's result")
    with Engine(url) as engine:
        engine.run(fulfil, 4200, id="order-1001")
        names = [line.name for line in digest(engine.get("order-1001").history())]
        for command, event, outcome in [
            ("call(charge_card, 4200)", "ActivityTaskScheduled", "ActivityTaskCompleted"),
            ('workflow.sleep("50ms")', "TimerStarted", "TimerFired"),
            ("return receipt", "WorkflowExecutionCompleted", ""),
        ]:
            show(f"{command:25} → {event:27} {outcome and '→ ' + outcome}")
            seen(f"{event} is in the history", event in names and (outcome in names or not outcome))
    seen("the effect was had once", effects.read_text() == "charged $42.00\n")

    step("asked for again by its id, after a restart: the recorded result, no effect")
    with Engine(url) as engine:
        again = engine.run(fulfil, 4200, id="order-1001")
    show(f"result: {again}")
    seen("the effect was still had once", (again, effects.read_text()) == ("receipt 1", "charged $42.00\n"))

    step("a workflow that tries to have the effect itself")
    with Engine(url) as engine:
        handle = engine.start(does_it_itself, 4200, id="order-1002")
        failed = until(lambda: [line for line in digest(handle.history()) if line.name == "WorkflowTaskFailed"])
        show(failed[0].detail)
        seen("is stopped before it could: effects belong in activities", "activity" in failed[0].detail)
        handle.terminate("it is only an example")
    seen("nothing was charged", effects.read_text() == "charged $42.00\n")


if __name__ == "__main__":
    play(__file__, story)
