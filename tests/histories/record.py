"""Writes the histories of a release: `python -m tests.histories.record` adds what is missing for this version.

What is there is never written again: a stored history is what a release really wrote. The workflows run on the test
engine, so the same version writes the same histories.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from temporalio.api.history.v1 import HistoryEvent

from perdure import UpdateFailedError, WorkflowFailedError
from perdure.sdk.replay.checking import workflows_in
from perdure.testing import TestEngine
from tests.histories import workflows
from tests.histories.workflows import Order

FOLDER = Path(__file__).parent
ORDER = Order("1001", 4200)
ACTIVITIES: list[Any] = [
    workflows.charge, workflows.reserve, workflows.release, workflows.decline, workflows.slow, workflows.patient,
    workflows.validate, workflows.stubborn,
]  # fmt: skip


def to_its_end(engine: TestEngine, name: str) -> None:
    """Until the run is closed, well or not."""
    try:
        engine.get(name).result()
    except WorkflowFailedError:
        return  # some are meant to


def flaky(engine: TestEngine, name: str) -> None:
    """The first activity fails twice before it works."""
    answers: list[Any] = [ConnectionError("once"), ConnectionError("twice"), "receipt at last"]

    def charge(order: Order) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    engine.mock("stored.charge", charge)
    to_its_end(engine, name)


def cancel(engine: TestEngine, name: str) -> None:
    engine.advance("3 days")
    engine.get(name).cancel("changed my mind")
    to_its_end(engine, name)


def cancel_soon(engine: TestEngine, name: str) -> None:
    engine.advance("1 min")
    engine.get(name).cancel()
    to_its_end(engine, name)


def half_a_year(engine: TestEngine, name: str) -> None:
    engine.advance("75 days")


def signals(engine: TestEngine, name: str) -> None:
    engine.get(name).signal("add", "lamp")
    engine.get(name).signal("other", 1, "two")
    engine.get(name).signal("word", "hello")
    engine.advance("2h")
    engine.get(name).signal("add", "desk")
    to_its_end(engine, name)


def updates(engine: TestEngine, name: str) -> None:
    for update, *args in (("add", "lamp"), ("add", ""), ("refuse",), ("fetch", "desk"), ("unknown",)):
        try:
            engine.get(name).update(update, *args)
        except UpdateFailedError:
            continue  # some are meant to
    engine.get(name).signal("end")
    to_its_end(engine, name)


def updates_at_once(engine: TestEngine, name: str) -> None:
    slow = engine.get(name).update("fetch", "a long word", wait_for="accepted")
    engine.get(name).signal("note", "said")
    engine.get(name).update("fetch", "short")
    assert slow.result() == "A LONG WORD"
    to_its_end(engine, name)


def stop(engine: TestEngine, name: str) -> None:
    engine.advance("1 min")
    engine.get(name).signal("stop")
    to_its_end(engine, name)


def stop_one_by_one(engine: TestEngine, name: str) -> None:
    engine.advance("1 min")
    engine.get(name).cancel("enough")
    for signal in ("stop", "leave"):
        engine.advance("1 min")
        engine.get(name).signal(signal)
    to_its_end(engine, name)


def decided(engine: TestEngine, name: str) -> None:
    engine.advance("1h")
    [entry] = engine.interventions.list()
    engine.interventions.retry(entry, who="ann", why="it was down")
    engine.advance("1h")
    [entry] = engine.interventions.list()
    engine.interventions.skip(entry, who="ann", why="settled by phone")
    to_its_end(engine, name)


HOW: dict[str, Callable[[TestEngine, str], None]] = {
    "stored.cancelled": cancel,
    "stored.cancelled_async": cancel,
    "stored.open": half_a_year,
    "stored.order": flaky,
    "stored.signalled": signals,
    "stored.actor": updates,
    "stored.actor_async": updates_at_once,
    "stored.scopes": stop,
    "stored.unheard": stop_one_by_one,
    "stored.unheard_async": stop_one_by_one,
    "stored.group": cancel_soon,
    "stored.intervention": decided,
}
"""How a workflow is taken to where its history is stored; the others run to their end."""


def record(name: str) -> str:
    """The history that this version writes for a workflow, as JSON."""
    known = {definition.name: definition for definition in workflows_in(workflows)}
    definition = known[name]
    with TestEngine(workflows=known.values(), activities=ACTIVITIES) as engine:
        handle = engine.start(definition, ORDER, id=name)
        HOW.get(name, to_its_end)(engine, name)
        return as_text(handle.history())


def as_text(events: list[HistoryEvent]) -> str:
    """Temporal's JSON, a line per event, without the stack traces: they name files of one machine."""
    lines: list[str] = []
    for event in events:
        without_traces(event)
        lines.append(json.dumps(MessageToDict(event), separators=(",", ":"), ensure_ascii=False))
    return '{"events": [\n' + ",\n".join(lines) + "\n]}\n"


def without_traces(message: Message) -> None:
    """Clear every `stack_trace` in it."""
    for field, value in message.ListFields():
        if field.name == "stack_trace":
            message.ClearField("stack_trace")
        elif isinstance(value, Message) and value.DESCRIPTOR.full_name.startswith("temporal."):
            without_traces(value)


def main() -> None:
    folder = FOLDER / version("perdure")
    folder.mkdir(exist_ok=True)
    for definition in workflows_in(workflows):
        file = folder / f"{definition.name.removeprefix('stored.')}.json"
        if not file.exists():
            file.write_text(record(definition.name), encoding="utf-8")
            sys.stdout.write(f"wrote {file.relative_to(FOLDER)}\n")


if __name__ == "__main__":
    main()
