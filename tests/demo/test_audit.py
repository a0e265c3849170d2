"""The audit must be able to fail: real ledgers of a well-done day, then one thing broken at a time."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from perdure.demo.audit import Ended, Report, audit, read_books
from perdure.demo.orders import CATALOGUE, Order, Outcome, generate, total_cents
from perdure.demo.processes import Town
from perdure.demo.services.client import Refused

ORDERS = [
    next(generate(1)),
    Order("1002", "grace", "tok_declined_7", {"MUG": 2}, total_cents({"MUG": 2})),
    Order("1003", "ken", "tok_visa_1", {"GRAMOPHONE": 1}, total_cents({"GRAMOPHONE": 1})),
    Order("1004", "ada", "tok_visa_2", {"TEA": 3, "PEN": 1}, total_cents({"TEA": 3, "PEN": 1})),
]


def fulfil(town: Town, order: Order) -> Outcome:
    """The day's work by hand, without an engine."""
    named = {"order_id": order.order_id, "customer": order.customer}
    charge = {**named, "card": order.card, "amount_cents": order.amount_cents}
    try:
        charge_id = town.payments.client.post("/charge", charge)["charge_id"]
    except Refused as refusal:
        return Outcome("declined", str(refusal))
    try:
        town.inventory.client.post("/reserve", {**named, "items": order.items})
    except Refused as refusal:
        town.payments.client.post("/refund", {**named, "charge_id": charge_id})
        town.shipping.client.post("/notify", {**named, "text": "sorry"})
        return Outcome("out_of_stock", str(refusal))
    tracking = town.shipping.client.post("/ship", named)["tracking"]
    town.shipping.client.post("/notify", {**named, "text": tracking})
    return Outcome("fulfilled", tracking)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Ended]]:
    """A directory with three ledgers in order, and how the orders ended."""
    directory = tmp_path_factory.mktemp("day")
    with Town(directory) as town:
        ended = {order.order_id: Ended("COMPLETED", fulfil(town, order)) for order in ORDERS}
    return directory, ended


Day = tuple[Path, Mapping[str, Ended]]


def report(directory: Path, ended: Mapping[str, Ended]) -> Report:
    return audit(
        ORDERS, ended, read_books(*(directory / f"{name}.db" for name in ("payment_gateway", "inventory", "shipping")))
    )


def test_a_day_in_order_has_no_findings(day: Day) -> None:
    found = report(*day)
    assert found.problems == []
    assert found.outcomes == {"fulfilled": 2, "declined": 1, "out_of_stock": 1}
    assert found.turnover_cents == ORDERS[0].amount_cents + ORDERS[3].amount_cents
    assert all(check.looked_at for check in found.checks)


BREAKAGES = [
    (
        "payment_gateway",
        "INSERT INTO charges (order_id, customer, amount_cents, at_ns) VALUES ('1001', 'ada', 4200, 0)",
        "order 1001 was charged $42.00 + $42.00, should have been $42.00",
    ),
    (
        "payment_gateway",
        "DELETE FROM charges WHERE order_id = '1004'",
        "order 1004 was charged nothing, should have been $25.00",
    ),
    (
        "payment_gateway",
        "UPDATE charges SET amount_cents = 4201 WHERE order_id = '1001'",
        "order 1001 was charged $42.01",
    ),
    ("payment_gateway", "DELETE FROM refunds", "order 1003 was refunded nothing, should have been $320.00"),
    (
        "payment_gateway",
        "INSERT INTO refunds (charge_id, order_id, amount_cents, at_ns) VALUES (1, '1001', 4200, 0)",
        "order 1001 was refunded $42.00, should have been nothing",
    ),
    (
        "payment_gateway",
        "INSERT INTO charges (order_id, customer, amount_cents, at_ns) VALUES ('1002', 'grace', 1900, 0)",
        "order 1002 was charged $19.00, should have been nothing",
    ),
    ("payment_gateway", "DELETE FROM calls WHERE order_id = '1002'", "order 1002: the gateway never declined it"),
    (
        "payment_gateway",
        "INSERT INTO charges (order_id, customer, amount_cents, at_ns) VALUES ('666', 'eve', 1, 0)",
        "the ledgers know orders that nobody placed: 666",
    ),
    (
        "inventory",
        "DELETE FROM reservations WHERE order_id = '1001'",
        "order 1001 holds nothing, should hold {'LAMP': 1}",
    ),
    (
        "inventory",
        "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'TEA'",
        "TEA: 5000 delivered, 3 reserved, but 4996",
    ),
    ("inventory", "DELETE FROM shortages", "order 1003: the warehouse never refused it"),
    (
        "inventory",
        "UPDATE stock SET on_hand = 1 WHERE sku = 'GRAMOPHONE'",
        "order 1003 was refused as out of stock, but all of it is there",
    ),
    ("shipping", "DELETE FROM shipments WHERE order_id = '1004'", "order 1004 has 0 shipments"),
    ("shipping", "INSERT INTO shipments (order_id, at_ns) VALUES ('1001', 0)", "order 1001 has 2 shipments"),
    ("shipping", "UPDATE shipments SET id = 99 WHERE order_id = '1004'", "says PD0000002, the carrier knows it not"),
    (
        "shipping",
        "INSERT INTO notifications (order_id, customer, text, at_ns) VALUES ('1001', 'ada', 'again', 0)",
        "order 1001: 2 notifications, should be 1",
    ),
]


@pytest.mark.parametrize(("ledger", "damage", "finding"), BREAKAGES)
def test_one_broken_line_is_found(day: Day, tmp_path: Path, ledger: str, damage: str, finding: str) -> None:
    directory, ended = day
    for file in directory.iterdir():
        shutil.copy(file, tmp_path)
    with closing(sqlite3.connect(tmp_path / f"{ledger}.db")) as db:
        assert db.execute(damage).rowcount == 1
        db.commit()
    assert finding in "\n".join(report(tmp_path, ended).problems)


@pytest.mark.parametrize(
    ("order_id", "end", "finding"),
    [
        ("1001", None, "order 1001 did not finish: nothing is known of it"),
        ("1001", Ended("RUNNING"), "order 1001 did not finish: its execution is RUNNING"),
        ("1004", Ended("FAILED"), "order 1004 did not finish: its execution is FAILED"),
        (
            "1001",
            Ended("COMPLETED", Outcome("declined", "")),
            "order 1001 ended as declined, its card is tok_visa_4242",
        ),
        (
            "1002",
            Ended("COMPLETED", Outcome("fulfilled", "")),
            "order 1002 ended as fulfilled, its card is tok_declined_7",
        ),
    ],
)
def test_what_the_engine_says_is_held_against_the_ledgers(
    day: Day, order_id: str, end: Ended | None, finding: str
) -> None:
    directory, ended = day
    said = {**ended, order_id: end} if end else {key: value for key, value in ended.items() if key != order_id}
    assert finding in report(directory, said).problems


def test_more_first_editions_sold_than_there_are_is_found(day: Day, tmp_path: Path) -> None:
    directory, ended = day
    for file in directory.iterdir():
        shutil.copy(file, tmp_path)
    with closing(sqlite3.connect(tmp_path / "inventory.db")) as db:
        sold = CATALOGUE["FIRST-EDITION"].stock + 1
        db.execute("UPDATE stock SET on_hand = on_hand - ? WHERE sku = 'FIRST-EDITION'", (sold,))
        db.commit()
    assert any("FIRST-EDITION: 12 delivered, 0 reserved, but -1 on hand" in p for p in report(tmp_path, ended).problems)
