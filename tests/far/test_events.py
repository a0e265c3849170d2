"""Events need no more of a server than signals and children: the same on Temporal's own as on ours."""

from __future__ import annotations

import uuid

from perdure import Engine, on_event, workflow
from tests.eventually import eventually


def test_events_on_any_server(url: str) -> None:
    name = f"paid-{uuid.uuid4()}"

    @workflow
    def pays(cents: int) -> None:
        workflow.emit(name, cents, key="1001")

    @workflow
    def adds_up(count: int) -> int:
        with workflow.subscribe(name) as payments:
            workflow.emit(f"{name}-ready")
            return sum(payments.next() for _ in range(count))

    @workflow
    def knows_when_ready() -> str:
        workflow.wait_event(f"{name}-ready", timeout="1 minute")
        return "ready"

    @on_event(name, key="1001")
    @workflow
    async def invoices(cents: int) -> str:
        return f"invoice for {cents}"

    workflows = [pays, adds_up, knows_when_ready, invoices]
    with Engine(url, task_queue=name, workflows=workflows, activities=[]) as engine:
        ready = engine.start(knows_when_ready, id=f"ready-{name}")
        eventually(lambda: f"ready-{name}" in str(subscribers(engine, f"{name}-ready")), "it subscribes")
        books = engine.start(adds_up, 4, id=f"books-{name}")
        assert ready.result() == "ready"
        for cents in (1, 10):
            engine.run(pays, cents, id=f"pays-{cents}-{name}")
        event = engine.events.emit(name, 100, key="1001")
        assert engine.events.emit(name, 100, key="1001", id=event) == event
        engine.events.emit(name, 1000)
        assert books.result() == 1111
        assert engine.get(f"invoices/{event}").result() == "invoice for 100"
        for one in (name, f"{name}-ready"):
            engine.get(f"perdure-events/{one}").terminate()


def subscribers(engine: Engine, name: str) -> object:
    """Whom the hub of an event serves; nobody while there is no hub."""
    hub = f"perdure-events/{name}"
    if hub not in {run.id for run in engine.list()}:
        return []
    return engine.get(hub).query("state")["subscribers"]
