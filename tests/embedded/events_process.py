"""A process in which workflows, and a program outside of them, tell each other things; killed at random by its test.

    python -m tests.embedded.events_process DATABASE EFFECTS EVENTS

Every event is noted by a workflow that it starts, as a line of the file EFFECTS: "VALUE KEY". Two others collect
all events: one in a single run, one that continues as new again and again. At its end the process says what they have.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial

from perdure import Engine, EngineError, QueryFailedError, Retry, activity, call, on_event, workflow
from perdure.core.limits import Limits
from perdure.embedded import EngineSeams, seamed
from perdure.engine.node.config import EngineConfig
from tests.eventually import eventually

effects = -1


@activity(name="kills.note", start_to_close_timeout="30s", retry=Retry(initial_interval="10ms"))
def note(value: int) -> None:
    os.write(effects, f"{value} {activity.info().idempotency_key}\n".encode())


@on_event("kills.told")
@workflow(name="kills.notes")
def notes(value: int) -> None:
    call(note, value)


@workflow(name="kills.tells")
def tells(value: int) -> None:
    workflow.emit("kills.told", value)


@workflow(name="kills.collects")
def collects(count: int) -> list[int]:
    found: list[int] = []
    with workflow.subscribe("kills.told") as told:
        workflow.on_query("is_there", lambda: True)
        while len(found) < count:
            found.append(told.next())
    return found


@workflow(name="kills.collects_in_runs")
def collects_in_runs(count: int, found: list[int]) -> list[int]:
    begun_with = len(found)
    with workflow.subscribe("kills.told") as told:
        workflow.on_query("is_there", lambda: True)
        while len(found) < count:
            if len(found) - begun_with == 10:
                workflow.continue_as_new(count, found)
            found.append(told.next())
    return found


def are_there(engine: Engine, *workflow_ids: str) -> bool:
    """Whether they have subscribed, or have ended already."""
    return all(eventually(partial(is_there, engine, name), f"{name} subscribes") for name in workflow_ids)


def is_there(engine: Engine, workflow_id: str) -> bool:
    """Whether one of them has subscribed, or has ended already."""
    if engine.get(workflow_id).describe().closed_at is not None:
        return True
    try:
        engine.get(workflow_id).query("is_there")
    except (EngineError, QueryFailedError):  # not yet, or between two runs
        return False
    return True


def notes_have_ended(engine: Engine) -> bool:
    """Whether none of what the events started is open."""
    runs = [run for run in engine.list(limit=10_000) if run.workflow_type == "kills.notes"]
    return all(run.closed_at is not None for run in runs)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(database: str, effects_file: str, events: int) -> None:
    global effects
    effects = os.open(effects_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    limits = Limits(suggest_continue_as_new_events=200)  # so that the hub does, too
    seams = EngineSeams(engine_config=EngineConfig(workers_died=True, limits=limits))
    with seamed(Engine, seams, f"sqlite:///{database}", max_concurrent_activities=4) as engine:
        one = engine.start(collects, events, id="one")
        many = engine.start(collects_in_runs, events, [], id="many")
        are_there(engine, "one", "many")
        say("open")
        for value in range(events):
            if value % 2:
                engine.events.emit("kills.told", value, id=f"outside-{value}")
            else:
                engine.start(tells, value, id=f"tells-{value}")
        found = {"one": one.result(), "many": many.result()}
        eventually(lambda: notes_have_ended(engine), "every listener has ended")
        runs = [run.id for run in engine.list(limit=10_000)]
        noted = sum(run.startswith("kills.notes/") for run in runs)
        counts = {"noted": noted, "runs": runs.count("many"), "hubs": runs.count("perdure-events/kills.told")}
        say(json.dumps({**found, **counts}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
