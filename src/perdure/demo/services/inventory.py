"""The warehouse: holds stock per SKU and reserves it for orders, all of an order's items or none.

Stock is told to it over HTTP (`POST /stock`); what is not there is refused with 409.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from perdure.demo.services.ledger import Answer, now_ns
from perdure.demo.services.server import Action, Definition, OrderRequest, serve

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, delivered INTEGER NOT NULL, on_hand INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS reservations (
    id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL,
    released INTEGER NOT NULL DEFAULT 0, at_ns INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS shortages (order_id TEXT NOT NULL, sku TEXT NOT NULL, at_ns INTEGER NOT NULL);
"""


class StockRequest(OrderRequest, frozen=True):
    """`order_id` names the delivery; quantities by SKU are added to what is there."""

    quantities: dict[str, int]


class ReserveRequest(OrderRequest, frozen=True):
    items: dict[str, int]


class ReleaseRequest(OrderRequest, frozen=True):
    """Gives back whatever is reserved for the order."""


def deliver(db: sqlite3.Connection, request: StockRequest) -> Answer:
    db.executemany(
        "INSERT INTO stock VALUES (:sku, :n, :n) ON CONFLICT (sku) DO UPDATE "
        "SET delivered = delivered + :n, on_hand = on_hand + :n",
        [{"sku": sku, "n": quantity} for sku, quantity in request.quantities.items()],
    )
    return Answer(200, {"skus": len(request.quantities)})


def reserve(db: sqlite3.Connection, request: ReserveRequest) -> Answer:
    for sku, quantity in request.items.items():
        row = db.execute("SELECT on_hand FROM stock WHERE sku = ?", (sku,)).fetchone()
        if row is None or row[0] < quantity:
            db.execute("INSERT INTO shortages VALUES (?, ?, ?)", (request.order_id, sku, now_ns()))
            return Answer(409, {"error": "out_of_stock", "message": f"{sku} is out of stock"})
    for sku, quantity in request.items.items():
        db.execute("UPDATE stock SET on_hand = on_hand - ? WHERE sku = ?", (quantity, sku))
        row = (request.order_id, sku, quantity, now_ns())
        db.execute("INSERT INTO reservations (order_id, sku, quantity, at_ns) VALUES (?, ?, ?, ?)", row)
    return Answer(200, {"reserved": sum(request.items.values())})


def release(db: sqlite3.Connection, request: ReleaseRequest) -> Answer:
    held = db.execute(
        "SELECT sku, quantity FROM reservations WHERE order_id = ? AND NOT released", (request.order_id,)
    ).fetchall()
    for sku, quantity in held:
        db.execute("UPDATE stock SET on_hand = on_hand + ? WHERE sku = ?", (quantity, sku))
    db.execute("UPDATE reservations SET released = 1 WHERE order_id = ?", (request.order_id,))
    return Answer(200, {"released": sum(quantity for _, quantity in held)})


def stock(db: sqlite3.Connection, query: Mapping[str, str]) -> dict[str, Any]:
    """`GET /stock`: what was delivered and what is on hand, by SKU."""
    rows = db.execute("SELECT sku, delivered, on_hand FROM stock ORDER BY sku")
    return {sku: {"delivered": delivered, "on_hand": on_hand} for sku, delivered, on_hand in rows}


DEFINITION = Definition(
    name="inventory",
    schema=SCHEMA,
    actions={
        "/stock": Action(StockRequest, deliver),
        "/reserve": Action(ReserveRequest, reserve),
        "/release": Action(ReleaseRequest, release),
    },
    views={"/stock": stock},
)

if __name__ == "__main__":
    serve(DEFINITION)
