"""The carrier: creates shipments and hands out tracking numbers, and mails the customer about them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from perdure.demo.services.ledger import Answer, now_ns
from perdure.demo.services.server import Action, Definition, OrderRequest, serve

SCHEMA = """
CREATE TABLE IF NOT EXISTS shipments (id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, at_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, customer TEXT NOT NULL, text TEXT NOT NULL, at_ns INTEGER NOT NULL
);
"""


class ShipRequest(OrderRequest, frozen=True):
    customer: str


class NotifyRequest(OrderRequest, frozen=True):
    customer: str
    text: str


def ship(db: sqlite3.Connection, request: ShipRequest) -> Answer:
    row = (request.order_id, now_ns())
    made = db.execute("INSERT INTO shipments (order_id, at_ns) VALUES (?, ?)", row)
    return Answer(200, {"tracking": f"PD{made.lastrowid:07d}"})


def notify(db: sqlite3.Connection, request: NotifyRequest) -> Answer:
    row = (request.order_id, request.customer, request.text, now_ns())
    db.execute("INSERT INTO notifications (order_id, customer, text, at_ns) VALUES (?, ?, ?, ?)", row)
    return Answer(200, {"sent": True})


def shipments(db: sqlite3.Connection, query: Mapping[str, str]) -> dict[str, Any]:
    """`GET /shipments?order_id=1001`: the tracking numbers of an order."""
    rows = db.execute("SELECT id FROM shipments WHERE order_id = ? ORDER BY id", (query.get("order_id", ""),))
    return {"tracking": [f"PD{row[0]:07d}" for row in rows]}


DEFINITION = Definition(
    name="shipping",
    schema=SCHEMA,
    actions={"/ship": Action(ShipRequest, ship), "/notify": Action(NotifyRequest, notify)},
    views={"/shipments": shipments},
)

if __name__ == "__main__":
    serve(DEFINITION)
