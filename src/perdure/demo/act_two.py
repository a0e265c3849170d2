"""Act 2: the same activities under the engine, the same death, and another one between two steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from temporalio.api.history.v1 import HistoryEvent

from perdure.api.digest import EventLine, digest
from perdure.demo.engine_store import EngineStore
from perdure.demo.orders import ORDER_1001, money, write_orders
from perdure.demo.processes import Process, ProcessFailed, Town, wait_until
from perdure.demo.screen import Screen
from perdure.demo.services.ledger import first_call_at_ns

HOLD_S = 60.0


@dataclass(frozen=True)
class Survived:
    """What Act 2 came to: the customer's total in cents, and how long each restart took to its first step, in ns."""

    total_cents: int
    resumed_after_ns: Sequence[int]
    charge_calls: int
    history: Sequence[HistoryEvent]


def act_two(screen: Screen, directory: Path, store: EngineStore) -> Survived:
    """ORDER #1001 on perdure, killed twice."""
    screen.act(
        2,
        "the same steps on perdure",
        "The same activity functions, called by a workflow. Its process is killed at the same moment,",
        f"and once more between two steps. All that is left each time is {store.kind}.",
    )
    with Town(directory) as town:
        act = _Act(screen, town, directory, store)
        resumed = [act.dies_after_the_charge(), act.dies_between_steps(), act.finishes()]
        statement = town.payments.client.get("/statement", customer=ORDER_1001.customer)
        calls: int = town.payments.client.get("/calls", order_id=ORDER_1001.order_id)["calls"]
    total: int = statement["total_cents"]
    screen.statement("The customer's statement, by the gateway", statement, right=total == ORDER_1001.amount_cents)
    screen.say(
        f"{money(ORDER_1001.amount_cents)} were owed, {money(total)} were charged. "
        f"The gateway was called {calls} times, under one key.",
        "bold green" if total == ORDER_1001.amount_cents else "bold red",
    )
    return Survived(total, [ns for ns in resumed if ns is not None], calls, store.history(ORDER_1001.order_id))


class _Act:
    def __init__(self, screen: Screen, town: Town, directory: Path, store: EngineStore) -> None:
        self._screen = screen
        self._town = town
        self._orders = directory / "order-1001.csv"
        with self._orders.open("w") as file:
            write_orders([ORDER_1001], file)
        self._store = store
        self._seen = 0
        """The last event that was stored at the last look."""

    def _engine(self) -> Process:
        return self._store.start_engine(self._orders, self._town)

    def dies_after_the_charge(self) -> None:
        screen, gateway = self._screen, self._town.payments.client
        gateway.arm("hold_answer", "/charge", calls=1, seconds=HOLD_S)
        with self._engine() as engine:
            screen.happens("engine", f"starts, process {engine.pid}; ORDER #1001 is asked for")
            wait_until(lambda: gateway.held() == 1, "the gateway has charged")
            screen.happens("gateway", f"charges {money(ORDER_1001.amount_cents)}; its answer is on the way")
            engine.kill_9()
            screen.kill(engine.pid, "the engine: the result is not recorded")
        gateway.heal()
        self._show_store("The strip on disk after the crash: ChargeCard is scheduled, no result is known")

    def dies_between_steps(self) -> int | None:
        screen, warehouse = self._screen, self._town.inventory.client
        warehouse.arm("slow", "/reserve", calls=1, seconds=HOLD_S)
        with self._engine() as engine:
            screen.happens("engine", f"starts again, process {engine.pid}")
            wait_until(lambda: warehouse.held() == 1, "the next step is under way")
            resumed = self._resumed_after(engine)
            screen.happens("engine", f"calls ChargeCard again, under the same key, {_ms(resumed)} after its start")
            calls = self._town.payments.client.get("/calls", order_id=ORDER_1001.order_id)
            screen.happens("gateway", f"call {calls['calls']}: knows the key, gives its first answer again")
            screen.happens("engine", "records the result, goes on to ReserveInventory")
            engine.kill_9()
            screen.kill(engine.pid, "the engine: between two steps")
        warehouse.heal()
        self._show_store("The strip on disk: the result of ChargeCard is recorded")
        return resumed

    def finishes(self) -> int | None:
        screen, before = self._screen, digest(self._store.history(ORDER_1001.order_id))
        with self._engine() as engine:
            screen.happens("engine", f"starts a third time, process {engine.pid}")
            if engine.wait(60) != 0:
                raise ProcessFailed("the engine's process failed:\n" + "\n".join(engine.errors))
            resumed = self._resumed_after(engine)
        for line in _recorded(before):
            screen.happens("replay", f"hands back {line.subject} {line.detail}  (event {line.event_id})", "green")
        screen.happens("engine", f"resumes at ReserveInventory, {_ms(resumed)} after its start")
        screen.happens("engine", "ships, notifies; the workflow is completed")
        self._show_store("The whole strip; green is what replay handed back", handed_back=True)
        return resumed

    def _resumed_after(self, engine: Process) -> int | None:
        first = first_call_at_ns(self._town.ledgers, str(engine.pid))
        return None if first is None else first - engine.started_at_ns

    def _show_store(self, title: str, *, handed_back: bool = False) -> None:
        lines = digest(self._store.history(ORDER_1001.order_id))
        self._screen.strip(title, lines, new_after=self._seen, handed_back=handed_back)
        if not handed_back:
            self._screen.space()
        self._seen = lines[-1].event_id


def _recorded(lines: Sequence[EventLine]) -> list[EventLine]:
    return [line for line in lines if line.name == "ActivityTaskCompleted"]


def _ms(ns: int | None) -> str:
    return "?" if ns is None else f"{ns / 1e6:.0f} ms"
