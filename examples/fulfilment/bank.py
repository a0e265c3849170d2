"""The bank: cards are charged at once, transfers are settled when the money arrives, perhaps days later.

    python bank.py --ledger bank.db

A payment from an account that begins with `iban` is `pending` until somebody posts to `/settle`. The `reference` of
the payment says whom the bank is to tell then. `/refund` gives back what an order has paid, as often as it is
asked to: like most, this bank relies on its callers' idempotency keys. What is still pending it voids.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from perdure.demo.services import DECLINED
from perdure.demo.services.ledger import Answer, now_ns
from perdure.demo.services.server import Action, Definition, OrderRequest, serve

SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (
    id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, account TEXT NOT NULL, amount_cents INTEGER NOT NULL,
    state TEXT NOT NULL, reference TEXT NOT NULL, at_ns INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS refunds (
    id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, amount_cents INTEGER NOT NULL, at_ns INTEGER NOT NULL
);
"""


class ChargeRequest(OrderRequest, frozen=True):
    account: str
    amount_cents: int
    reference: str


def charge(db: sqlite3.Connection, request: ChargeRequest) -> Answer:
    if request.account.startswith(DECLINED):
        return Answer(402, {"error": "declined", "message": f"{request.account} was declined"})
    state = "pending" if request.account.startswith("iban") else "settled"
    row = (request.order_id, request.account, request.amount_cents, state, request.reference, now_ns())
    made = db.execute(
        "INSERT INTO payments (order_id, account, amount_cents, state, reference, at_ns) VALUES (?, ?, ?, ?, ?, ?)", row
    )
    return Answer(200, {"payment_id": made.lastrowid, "state": state})


def settle(db: sqlite3.Connection, request: OrderRequest) -> Answer:
    """The money of a transfer has arrived. The answer is what the bank then tells the shop."""
    found = db.execute(
        "SELECT id, reference FROM payments WHERE order_id = ? AND state = 'pending'", (request.order_id,)
    ).fetchone()
    if found is None:
        text = f"order {request.order_id} owes nothing: the money goes back"
        return Answer(409, {"error": "nothing_pending", "message": text})
    db.execute("UPDATE payments SET state = 'settled' WHERE id = ?", (found[0],))
    return Answer(200, {"payment_id": found[0], "reference": found[1]})


def refund(db: sqlite3.Connection, request: OrderRequest) -> Answer:
    paid = db.execute(
        "SELECT coalesce(sum(amount_cents), 0) FROM payments WHERE order_id = ? AND state = 'settled'",
        (request.order_id,),
    ).fetchone()[0]
    if paid:
        row = (request.order_id, paid, now_ns())
        db.execute("INSERT INTO refunds (order_id, amount_cents, at_ns) VALUES (?, ?, ?)", row)
    db.execute("UPDATE payments SET state = 'void' WHERE order_id = ? AND state = 'pending'", (request.order_id,))
    return Answer(200, {"refunded_cents": paid})


def calls(db: sqlite3.Connection, query: Mapping[str, str]) -> dict[str, Any]:
    """`GET /calls?action=/refund`: how many calls came, and how many of them were answered from memory."""
    row = db.execute(
        "SELECT count(*), coalesce(sum(repeated), 0) FROM calls WHERE path = ?", (query.get("action", ""),)
    ).fetchone()
    return {"calls": row[0], "repeated": row[1]}


DEFINITION = Definition(
    name="bank",
    schema=SCHEMA,
    actions={
        "/charge": Action(ChargeRequest, charge),
        "/settle": Action(OrderRequest, settle),
        "/refund": Action(OrderRequest, refund),
    },
    views={"/calls": calls},
)

if __name__ == "__main__":
    serve(DEFINITION)
