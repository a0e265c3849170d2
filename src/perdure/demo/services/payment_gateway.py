"""The payment gateway: charges cards, refunds charges, keeps statements.

A card token that begins with `tok_declined` is refused with 402. A charge without an idempotency key
is a new charge, every time: that is how an order of $42.00 comes to cost $84.00.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from perdure.demo.services import DECLINED
from perdure.demo.services.ledger import Answer, now_ns
from perdure.demo.services.server import Action, Definition, OrderRequest, serve

SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, customer TEXT NOT NULL, amount_cents INTEGER NOT NULL,
    at_ns INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS refunds (
    id INTEGER PRIMARY KEY, charge_id INTEGER NOT NULL REFERENCES charges (id), order_id TEXT NOT NULL,
    amount_cents INTEGER NOT NULL, at_ns INTEGER NOT NULL
);
"""


class ChargeRequest(OrderRequest, frozen=True):
    customer: str
    card: str
    amount_cents: int


class RefundRequest(OrderRequest, frozen=True):
    charge_id: int


def charge(db: sqlite3.Connection, request: ChargeRequest) -> Answer:
    if request.amount_cents <= 0:
        return Answer(400, {"error": "bad_amount", "message": "an amount must be positive"})
    if request.card.startswith(DECLINED):
        return Answer(402, {"error": "card_declined", "message": f"card {request.card} was declined"})
    row = (request.order_id, request.customer, request.amount_cents, now_ns())
    made = db.execute("INSERT INTO charges (order_id, customer, amount_cents, at_ns) VALUES (?, ?, ?, ?)", row)
    return Answer(200, {"charge_id": made.lastrowid, "amount_cents": request.amount_cents})


def refund(db: sqlite3.Connection, request: RefundRequest) -> Answer:
    known = db.execute("SELECT order_id, amount_cents FROM charges WHERE id = ?", (request.charge_id,)).fetchone()
    if known is None:
        return Answer(404, {"error": "no_such_charge", "message": f"there is no charge {request.charge_id}"})
    row = (request.charge_id, known[0], known[1], now_ns())
    made = db.execute("INSERT INTO refunds (charge_id, order_id, amount_cents, at_ns) VALUES (?, ?, ?, ?)", row)
    return Answer(200, {"refund_id": made.lastrowid, "amount_cents": known[1]})


def statement(db: sqlite3.Connection, query: Mapping[str, str]) -> dict[str, Any]:
    """`GET /statement?customer=ada`: the lines of a customer's statement and their sum, in cents."""
    customer = query.get("customer", "")
    lines = db.execute(
        "SELECT 'charge', id, order_id, amount_cents, at_ns FROM charges WHERE customer = :c UNION ALL "
        "SELECT 'refund', r.id, r.order_id, -r.amount_cents, r.at_ns FROM refunds r "
        "JOIN charges ON charges.id = r.charge_id WHERE customer = :c ORDER BY 5",
        {"c": customer},
    ).fetchall()
    names = ("kind", "id", "order_id", "amount_cents", "at_ns")
    return {
        "customer": customer,
        "lines": [dict(zip(names, line, strict=True)) for line in lines],
        "total_cents": sum(line[3] for line in lines),
    }


def calls(db: sqlite3.Connection, query: Mapping[str, str]) -> dict[str, Any]:
    """`GET /calls?order_id=1001`: how often the order's calls came, and how many were answered from memory."""
    row = db.execute(
        "SELECT count(*), coalesce(sum(repeated), 0) FROM calls WHERE order_id = ?", (query.get("order_id", ""),)
    ).fetchone()
    return {"calls": row[0], "repeated": row[1]}


DEFINITION = Definition(
    name="payment gateway",
    schema=SCHEMA,
    actions={"/charge": Action(ChargeRequest, charge), "/refund": Action(RefundRequest, refund)},
    views={"/statement": statement, "/calls": calls},
)

if __name__ == "__main__":
    serve(DEFINITION)
