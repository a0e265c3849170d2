"""The audit: every order against the three ledgers.

It believes nobody. From the order file it knows what was asked for, from the ledgers what really happened, and
from the engine only how each order is said to have ended. Each check counts what it looked at and lists every
single thing that is wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perdure.demo.orders import CATALOGUE, Order, Outcome, money
from perdure.demo.services import DECLINED
from perdure.demo.services.ledger import open_for_reading


@dataclass(frozen=True)
class Ended:
    """What the engine says of an order: the status of its execution, and its outcome when that is COMPLETED."""

    status: str
    outcome: Outcome | None = None


@dataclass
class Check:
    """One question, how many answers were looked at, and what was wrong with them."""

    name: str
    looked_at: int = 0
    problems: list[str] = field(default_factory=list[str])

    def expect(self, right: bool, problem: str) -> None:
        self.looked_at += 1
        if not right:
            self.problems.append(problem)


@dataclass(frozen=True)
class Books:
    """The three ledgers, by order."""

    charges: Mapping[str, Sequence[tuple[int, int]]]
    """(charge id, cents)"""
    refunds: Mapping[str, Sequence[tuple[int, int]]]
    """(charge id, cents)"""
    declined: frozenset[str]
    reservations: Mapping[str, Mapping[str, int]]
    """Quantity by SKU, over all reservations of the order that were not released."""
    shortages: frozenset[str]
    stock: Mapping[str, tuple[int, int]]
    """(delivered, on hand) by SKU"""
    shipments: Mapping[str, Sequence[int]]
    notifications: Mapping[str, Sequence[int]]

    @property
    def known_orders(self) -> set[str]:
        """Every order that any ledger has a line for."""
        return {*self.charges, *self.refunds, *self.reservations, *self.shipments, *self.notifications}


def read_books(payments: Path, inventory: Path, shipping: Path) -> Books:
    """The ledgers as they are in their files."""
    with closing(open_for_reading(payments)) as db:
        charges = _by_order(db.execute("SELECT order_id, id, amount_cents FROM charges"))
        refunds = _by_order(db.execute("SELECT order_id, charge_id, amount_cents FROM refunds"))
        declined = frozenset(row[0] for row in db.execute("SELECT order_id FROM calls WHERE status = 402"))
    with closing(open_for_reading(inventory)) as db:
        reservations: dict[str, Counter[str]] = defaultdict(Counter)
        for order_id, sku, quantity in db.execute(
            "SELECT order_id, sku, quantity FROM reservations WHERE NOT released"
        ):
            reservations[order_id][sku] += quantity
        shortages = frozenset(row[0] for row in db.execute("SELECT order_id FROM shortages"))
        stock = {row[0]: (row[1], row[2]) for row in db.execute("SELECT sku, delivered, on_hand FROM stock")}
    with closing(open_for_reading(shipping)) as db:
        shipments = _by_order(db.execute("SELECT order_id, id FROM shipments"))
        notifications = _by_order(db.execute("SELECT order_id, id FROM notifications"))
    return Books(charges, refunds, declined, reservations, shortages, stock, shipments, notifications)


def _by_order(rows: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for order_id, *rest in rows:
        found[order_id].append(tuple(rest) if len(rest) > 1 else rest[0])
    return dict(found)


@dataclass(frozen=True)
class Report:
    """The checks, and how the orders ended."""

    checks: Sequence[Check]
    outcomes: Mapping[str, int]
    turnover_cents: int
    """Charged less refunded, by the gateway's ledger."""

    @property
    def problems(self) -> list[str]:
        return [problem for check in self.checks for problem in check.problems]


def audit(orders: Sequence[Order], ended: Mapping[str, Ended], books: Books) -> Report:
    """Hold what the engine says against what the ledgers say."""
    case = _Case(orders, ended, books)
    checks: list[Callable[[], Check]] = [
        case.every_order_finished,
        case.charged_once,
        case.refused_for_a_reason,
        case.money_back,
        case.stock_agrees,
        case.shipped_once,
        case.told_once,
        case.totals,
    ]
    done = [check() for check in checks]
    outcomes = Counter(end.outcome.status if end.outcome else end.status for end in ended.values())
    return Report(done, outcomes, _turnover(books))


def _turnover(books: Books) -> int:
    charged = sum(cents for lines in books.charges.values() for _, cents in lines)
    return charged - sum(cents for lines in books.refunds.values() for _, cents in lines)


@dataclass(frozen=True)
class _Case:
    orders: Sequence[Order]
    ended: Mapping[str, Ended]
    books: Books

    def _outcome(self, order: Order) -> str:
        end = self.ended.get(order.order_id)
        return end.outcome.status if end and end.outcome else "unfinished"

    def every_order_finished(self) -> Check:
        check = Check("every order finished: none lost, none stuck")
        for order in self.orders:
            end = self.ended.get(order.order_id)
            said = "nothing is known of it" if end is None else f"its execution is {end.status}"
            check.expect(end is not None and end.outcome is not None, f"order {order.order_id} did not finish: {said}")
        return check

    def charged_once(self) -> Check:
        check = Check("each charged exactly once, and the right amount")
        for order in self.orders:
            lines = self.books.charges.get(order.order_id, ())
            wanted = () if self._outcome(order) == "declined" else (order.amount_cents,)
            found = tuple(cents for _, cents in lines)
            check.expect(
                found == wanted,
                f"order {order.order_id} was charged {_sums(found)}, should have been {_sums(wanted)}",
            )
        return check

    def refused_for_a_reason(self) -> Check:
        check = Check("each refused order refused for its reason")
        for order in self.orders:
            outcome, order_id = self._outcome(order), order.order_id
            bad_card = order.card.startswith(DECLINED)
            declined = outcome == "declined"
            check.expect(declined == bad_card, f"order {order_id} ended as {outcome}, its card is {order.card}")
            if declined:
                check.expect(order_id in self.books.declined, f"order {order_id}: the gateway never declined it")
            if outcome == "out_of_stock":
                check.expect(order_id in self.books.shortages, f"order {order_id}: the warehouse never refused it")
                short = any(self.books.stock.get(sku, (0, 0))[1] < wanted for sku, wanted in order.items.items())
                check.expect(short, f"order {order_id} was refused as out of stock, but all of it is there")
        return check

    def money_back(self) -> Check:
        check = Check("the money given back exactly where stock was short")
        for order in self.orders:
            refunds = sorted(self.books.refunds.get(order.order_id, ()))
            short = self._outcome(order) == "out_of_stock"
            wanted = sorted(self.books.charges.get(order.order_id, ())) if short else []
            check.expect(
                refunds == wanted and (bool(refunds) or not short),
                f"order {order.order_id} was refunded {_sums([cents for _, cents in refunds])}, "
                f"should have been {_sums([cents for _, cents in wanted])}",
            )
        return check

    def stock_agrees(self) -> Check:
        check = Check("reservations and stock agree, to the piece")
        taken: Counter[str] = Counter()
        for order in self.orders:
            wanted = order.items if self._outcome(order) == "fulfilled" else {}
            found = dict(self.books.reservations.get(order.order_id, {}))
            taken.update(found)
            check.expect(
                found == wanted, f"order {order.order_id} holds {found or 'nothing'}, should hold {wanted or 'nothing'}"
            )
        for sku, product in CATALOGUE.items():
            delivered, on_hand = self.books.stock.get(sku, (0, 0))
            right = delivered == product.stock and on_hand == delivered - taken[sku] and on_hand >= 0
            check.expect(right, f"{sku}: {delivered} delivered, {taken[sku]} reserved, but {on_hand} on hand")
        return check

    def shipped_once(self) -> Check:
        check = Check("each fulfilled order shipped exactly once, no other")
        for order in self.orders:
            end, shipped = self.ended.get(order.order_id), self.books.shipments.get(order.order_id, ())
            fulfilled = self._outcome(order) == "fulfilled"
            check.expect(len(shipped) == int(fulfilled), f"order {order.order_id} has {len(shipped)} shipments")
            if fulfilled and end and end.outcome and shipped:
                tracking = end.outcome.detail
                check.expect(
                    tracking == f"PD{shipped[0]:07d}",
                    f"order {order.order_id} says {tracking}, the carrier knows it not",
                )
        return check

    def told_once(self) -> Check:
        check = Check("each customer told exactly once")
        for order in self.orders:
            told = len(self.books.notifications.get(order.order_id, ()))
            wanted = 0 if self._outcome(order) == "declined" else 1
            check.expect(told == wanted, f"order {order.order_id}: {told} notifications, should be {wanted}")
        return check

    def totals(self) -> Check:
        check = Check("the gateway's total is the sum of the fulfilled orders")
        fulfilled = sum(order.amount_cents for order in self.orders if self._outcome(order) == "fulfilled")
        turnover = _turnover(self.books)
        check.expect(
            turnover == fulfilled, f"the gateway holds {money(turnover)}, fulfilled orders are {money(fulfilled)}"
        )
        ordered = {order.order_id for order in self.orders}
        strangers = sorted(self.books.known_orders - ordered)
        check.expect(not strangers, f"the ledgers know orders that nobody placed: {', '.join(strangers[:10])}")
        return check


def _sums(cents: Sequence[int]) -> str:
    return " + ".join(money(amount) for amount in cents) or "nothing"
