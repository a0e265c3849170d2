"""Writes the histories of an event's hub, and of who emits and subscribes: `python -m tests.histories.hub`.

A hub lives for years, and each release must replay what the ones before have written. As in `record.py`, what is
there is never written again.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from perdure import on_event, workflow
from perdure.testing import TestEngine
from tests.histories.record import as_text

FOLDER = Path(__file__).parent


@workflow(name="stored_hub.emits")
def emits(count: int) -> None:
    for number in range(count):
        workflow.emit("stored", number, key="even" if number % 2 == 0 else None)


@workflow(name="stored_hub.subscribes")
def subscribes(count: int) -> list[int]:
    with workflow.subscribe("stored") as news:
        return [news.next(timeout="1h") for _ in range(count)]


@workflow(name="stored_hub.waits")
async def waits(key: str) -> str:
    try:
        return f"got {await workflow.wait_event('stored', key=key, timeout='1h')}"
    except TimeoutError:
        return "nothing came"


@on_event("stored", key="even")
@workflow(name="stored_hub.is_started")
def is_started(number: int) -> int:
    return number


WORKFLOWS = [emits, subscribes, waits, is_started]


def record() -> dict[str, str]:
    """One of each kind of what may happen to a hub, but for its going on as a new run; by name."""
    with TestEngine(workflows=WORKFLOWS, activities=[]) as engine:
        engine.start(subscribes, 3, id="subscribes")
        engine.start(waits, "even", id="waits")
        engine.start(waits, "never", id="waits_in_vain")
        engine.start(subscribes, 9, id="is_terminated")
        engine.get("is_terminated").terminate()
        engine.run(emits, 3, id="emits")
        engine.events.emit("stored", 4, id="twice", key="even")
        engine.events.emit("stored", 4, id="twice", key="even")
        engine.advance("2h")
        engine.events.stop_listening("stored", is_started, key="even")
        engine.advance("2 days")
        names = {"hub": "perdure-events/stored"} | {name: name for name in ("emits", "subscribes", "waits")}
        names["waits_in_vain"] = "waits_in_vain"
        return {name: as_text(engine.get(id).history()) for name, id in names.items()}


def main() -> None:
    folder = FOLDER / version("perdure") / "hub"
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in record().items():
        file = folder / f"{name}.json"
        if not file.exists():
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {file.relative_to(FOLDER)}\n")


if __name__ == "__main__":
    main()
