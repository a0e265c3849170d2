"""The order-fulfilment system, on its good days and its bad ones.

Bank, warehouse and carrier are processes with ledgers of their own. Days are skipped, on a test engine, except in the
last two paths: there the shop is a process, too, and is killed. After each path an auditor reads the ledgers.
`fulfilment/README.md` says what is what.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fulfilment.order import ACTIVITIES, Fulfilment, Order
from fulfilment.reconciliation import Reconciliation, charged_and_neither_fulfilled_nor_refunded, tell_accounting
from fulfilment.shop import open_shop, tell_shop
from fulfilment.town import Books, Town
from stage import Stage, play, seen, show, step, title, until

from perdure import WorkflowStatus
from perdure.demo.processes import Process
from perdure.demo.services.client import Refused
from perdure.interventions import Intervention
from perdure.testing import TestEngine

LAMP = {"LAMP": 1}
CENTS = 4200
FULFILLED = Books(charged=CENTS, held=1, shipped=1, told=1)


@dataclass
class World:
    """A town, and a shop in it whose days can be skipped."""

    town: Town
    engine: TestEngine
    pager: list[Intervention] = field(default_factory=list[Intervention])

    def order(self, number: int, account: str = "tok_visa_4242", **items: int) -> str:
        """Somebody orders, and the shop does what it can do today. Gives the workflow's id."""
        order = Order(str(number), "ada", account, items or LAMP, CENTS)
        return self.engine.start(Fulfilment, order, id=f"order-{number}").id

    def money_arrives(self, number: int) -> None:
        """The bank calls back: it ends the activity that has been waiting, by the reference that it was given."""
        told = self.town.money_arrives(str(number))
        paid = told["payment_id"]
        self.engine.activities.complete(paid, workflow_id=f"order-{number}", activity_id=told["reference"])

    def where(self, order: str) -> str:
        status: str = self.engine.get(order).query(Fulfilment.where)
        show(f"{self.engine.now():%d %B}: {order}: {status}")
        return status

    def outcome(self, order: str) -> str:
        outcome = self.engine.get(order, result_type=dict).result()
        show(f"{self.engine.now():%d %B}: {order}: {outcome['status']}: {outcome['detail']}")
        return str(outcome["status"])


# --- good days -------------------------------------------------------------------------------------


def picked_up(world: World) -> None:
    step("1001 is charged, reserved, shipped, and picked up two days later")
    order = world.order(1001)
    world.where(order)
    world.engine.advance("2 days")
    seen("nobody was told anything before the pickup", world.town.books("1001") == FULFILLED._replace(told=0))
    world.engine.get(order).signal(Fulfilment.was_picked_up)
    seen("it is fulfilled", world.outcome(order) == "fulfilled")
    seen("charged once, shipped once, told once", world.town.books("1001") == FULFILLED)


def paid_late(world: World) -> None:
    step("1002 is paid by transfer; the bank calls back two days late")
    before = world.town.on_hand("LAMP")
    order = world.order(1002, "iban de02 1203")
    world.where(order)
    seen("the goods are held meanwhile", world.town.on_hand("LAMP") == before - 1)
    world.engine.advance("26 hours")
    world.where(order)
    seen("but not for more than a day", world.town.on_hand("LAMP") == before)
    world.engine.advance("1 day")
    world.money_arrives(1002)
    world.where(order)
    seen("when the money is there, they are reserved again and shipped", world.town.books("1002").shipped == 1)
    world.engine.get(order).signal(Fulfilment.was_picked_up)
    seen("it is fulfilled", world.outcome(order) == "fulfilled" and world.town.books("1002") == FULFILLED)


# --- days that end with the money back -----------------------------------------------------------------


def not_picked_up(world: World) -> None:
    step("1003 is shipped, and nobody comes for a week")
    before = world.town.on_hand("LAMP")
    order = world.order(1003)
    seen("after a week it is brought back", world.outcome(order) == "not_picked_up")
    seen("the money is back", world.town.books("1003") == Books(CENTS, CENTS, held=0, shipped=1, told=1))
    seen("and the lamp is back on the shelf", world.town.on_hand("LAMP") == before)


def declined(world: World) -> None:
    step("1004: the card is declined")
    seen("the order ends there", world.outcome(world.order(1004, "tok_declined_1")) == "declined")
    seen("nothing was charged, nothing is held", world.town.books("1004") == Books(told=1))


def out_of_stock(world: World) -> None:
    step("1005 wants a gramophone, and there is none")
    seen("the order ends there", world.outcome(world.order(1005, GRAMOPHONE=1)) == "out_of_stock")
    seen("charged and refunded", world.town.books("1005") == Books(CENTS, CENTS, told=1))


def never_paid(world: World) -> None:
    step("1006 is to be paid by transfer; the money never comes")
    order = world.order(1006, "iban de02 1206")
    seen("after two weeks nobody waits any more", world.outcome(order) == "not_paid")
    seen("nothing was charged, nothing is held", world.town.books("1006") == Books(told=1))
    try:
        world.town.money_arrives("1006")
    except Refused as refused:
        show(f"the day after, the bank: {refused}")
        seen("money that comes even later goes back by itself", world.town.books("1006").charged == 0)


def paid_too_late(world: World) -> None:
    step("1007 waits for the money longer than the last clock is held; 1008 buys it; then the money comes")
    late = world.order(1007, "iban de02 1207", CLOCK=1)
    world.engine.advance("25 hours")
    quick = world.order(1008, CLOCK=1)
    world.engine.get(quick).signal(Fulfilment.was_picked_up)
    seen("the clock is sold", world.outcome(quick) == "fulfilled")
    world.money_arrives(1007)
    seen("the late one is told so", world.outcome(late) == "out_of_stock")
    seen("and has the money back", world.town.books("1007") == Books(CENTS, CENTS, told=1))


def cancelled(world: World) -> None:
    step("1009 is cancelled by the customer before it is paid")
    before = world.town.on_hand("LAMP")
    order = world.order(1009, "iban de02 1209")
    world.engine.get(order).cancel("changed my mind")
    status = world.engine.get(order).describe().status
    show(f"{order}: {status.name.lower()}")
    seen("it is undone like any other", status is WorkflowStatus.CANCELED and world.town.on_hand("LAMP") == before)
    seen("nothing was charged", world.town.books("1009") == Books())


# --- a day that needs a person -------------------------------------------------------------------------


def refund_is_down(world: World) -> None:
    step("1010 must be refunded; the bank refunds it, hangs up before it has said so, and is down from then on")
    bank = world.town.bank.client
    world.engine.start(Reconciliation, {}, id="reconciliation")
    bank.arm("hang_up_after", "/refund", calls=1)
    world.order(1010, GRAMOPHONE=1)
    bank.arm("down", "/refund")
    world.engine.advance("12 hours")
    show(f"the pager: {world.pager[0].step} of {world.pager[0].workflow_id}: {world.pager[0].error}")
    seen("past its ceiling the refund waits for a person", world.engine.interventions.list() == world.pager)

    step("1011 must be refunded, too, and the bank has not even begun")
    order = world.order(1011, GRAMOPHONE=1)
    world.engine.advance("2 days")
    unsettled = world.engine.get("reconciliation").query(Reconciliation.unsettled)
    show(f"the daily reconciliation: {unsettled}")
    seen("the ledgers say who is charged, and neither has goods nor money", list(unsettled) == ["1011"])

    step("the bank is back; the operator has both tried again")
    bank.heal()
    for entry in world.engine.interventions.list():
        world.engine.interventions.retry(entry, who="Ada", why="the bank's status page is green, and so is my own test")
    outcomes = [world.outcome(order) for order in ("order-1010", order)]
    seen("both orders end as they should have", outcomes == ["out_of_stock", "out_of_stock"])
    refunds = bank.get("/calls", action="/refund")
    show(f"the bank's ledger: {refunds['repeated']} refund was asked for again under its key, and not made again")
    for number in ("1010", "1011"):
        seen(f"{number} was refunded once", world.town.books(number) == Books(CENTS, CENTS, told=1))
    world.engine.advance("1 day")
    unsettled = world.engine.get("reconciliation").query(Reconciliation.unsettled)
    seen("the next reconciliation finds nothing", unsettled == {} and not world.engine.interventions.list())


DAYS: list[Callable[[World], None]] = [
    picked_up,
    paid_late,
    not_picked_up,
    declined,
    out_of_stock,
    never_paid,
    paid_too_late,
    cancelled,
    refund_is_down,
]


def play_days(town: Town, *paths: Callable[[World], None]) -> None:
    """On one engine whose days are skipped. The shelves are audited after each path."""
    activities = [*ACTIVITIES, charged_and_neither_fulfilled_nor_refunded, tell_accounting]
    with TestEngine(workflows=[Fulfilment, Reconciliation], activities=activities) as engine:
        world = World(town, engine)
        engine.mock("perdure.alert", world.pager.append)
        for path in paths:
            path(world)
            seen("the warehouse agrees: what is not on a shelf is held for an order", town.shelves_agree())


# --- days with kill -9 ---------------------------------------------------------------------------------


Opens = Callable[[float], Process]
"""Opens the shop as it is some days from now."""


def killed_while_it_waits(town: Town, opens: Opens) -> None:
    step("1020 waits for its money, and the shop is killed; two days later the bank calls another process")
    shop = opens(0)
    order = {"id": "1020", "customer": "ada", "account": "iban de02 1220", "items": LAMP, "cents": CENTS}
    tell_shop(shop.wait_line("open "), "/orders", order)
    until(lambda: town.books("1020").held == 1)
    shop.kill_9()
    show(f"kill -9 {shop.pid}")
    told = {"order_id": "1020", **town.money_arrives("1020")}

    shop = opens(2)
    url = shop.wait_line("open ")
    until(lambda: tell_shop(url, "/paid", told))  # a bank calls until it is answered
    until(lambda: town.books("1020").shipped == 1)
    show("the money has arrived, the lamp is on its way")
    until(lambda: tell_shop(url, "/picked-up", {"order_id": "1020"}))
    shop.kill_9()
    show(f"kill -9 {shop.pid}, the moment that it has taken note of the pickup")

    shop = opens(3)
    until(lambda: town.books("1020").told == 1)
    shop.kill_9()
    seen("charged once, shipped once, told once, by three processes", town.books("1020") == FULFILLED)


def rush(town: Town, opens: Opens, orders: int = 40, kills: int = 5) -> None:
    step(f"{orders} orders in a rush, and the OOM killer comes {kills} times")
    numbers = [str(2000 + n) for n in range(orders)]
    cards = {number: "tok_declined" if number.endswith("7") else "tok_visa" for number in numbers}
    shop = opens(0)
    url = shop.wait_line("open ")
    for number in numbers:
        order = {"id": number, "customer": "bob", "account": cards[number], "items": LAMP, "cents": CENTS}
        tell_shop(url, "/orders", order)
    good = [number for number in numbers if cards[number] == "tok_visa"]
    for target in sorted(random.Random(1001).sample(range(len(good)), kills)):
        shipped = until(lambda: shipped_of(town, good, at_least=target))  # noqa: B023 - looked at at once
        shop.kill_9()
        show(f"kill -9 {shop.pid}, with {shipped} of {len(good)} shipped")
        shop = opens(0)
        url = shop.wait_line("open ")
    until(lambda: shipped_of(town, good, at_least=len(good)))
    for number in good:
        until(lambda: tell_shop(url, "/picked-up", {"order_id": number}))  # noqa: B023 - looked at at once
    until(lambda: all(town.books(number).told for number in numbers))
    shop.kill_9()
    wrong = [
        number
        for number in numbers
        if town.books(number) != (FULFILLED if cards[number] == "tok_visa" else Books(told=1))
    ]
    seen(f"all {len(good)} with a good card were charged, shipped and told once; the others were told", wrong == [])


def shipped_of(town: Town, numbers: list[str], at_least: int) -> int:
    """How many are; 0 when those are less than so many."""
    shipped = sum(town.books(number).shipped for number in numbers)
    return shipped if shipped >= max(at_least, 1) else 0


def play_kills(town: Town, stage: Stage, path: Callable[[Town, Opens], None]) -> None:
    """With the shop as a process. The shelves are audited afterwards."""
    file = Path(tempfile.mkdtemp(dir=stage.directory)) / "shop.db"
    path(town, lambda days: stage.process(open_shop, file, days, **town.environment))
    seen("the warehouse agrees: what is not on a shelf is held for an order", town.shelves_agree())


KILLS: list[Callable[[Town, Opens], None]] = [killed_while_it_waits, rush]


def story(stage: Stage) -> None:
    title("The order-fulfilment system")
    with Town(stage.directory, LAMP=60, CLOCK=1) as town:
        play_days(town, *DAYS)
        for path in KILLS:
            play_kills(town, stage, path)
        step("the evening's reconciliation")
        left = charged_and_neither_fulfilled_nor_refunded()
        seen("of all these orders none is charged and neither fulfilled nor refunded", left == [])


def alone(name: str) -> None:
    """`python fulfilment_story.py alone paid_late`: one path, in a town of its own."""
    with tempfile.TemporaryDirectory(prefix="perdure-fulfilment-") as directory:
        stage = Stage(Path(__file__), Path(directory))
        try:
            with Town(stage.directory, LAMP=60, CLOCK=1) as town:
                play_days(town, *[path for path in DAYS if path.__name__ == name])
                for path in [path for path in KILLS if path.__name__ == name]:
                    play_kills(town, stage, path)
        finally:
            stage.end()


if __name__ == "__main__":
    play(__file__, story, open_shop, alone)
