"""The world around the shop: bank, warehouse and carrier, each a process with a ledger; and the auditor.

The auditor believes nobody. He reads the three ledgers, not the engine, and says what each order came to.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from perdure.demo.processes import Process, Service, start_service
from perdure.demo.services.client import INVENTORY_URL, PAYMENTS_URL, SHIPPING_URL, ServiceClient
from perdure.demo.services.ledger import open_for_reading

LEDGERS = ("bank.db", "inventory.db", "shipping.db")


class Books(NamedTuple):
    """What the ledgers say of one order."""

    charged: int = 0
    """Cents."""
    refunded: int = 0
    held: int = 0
    """Pieces reserved and not released."""
    shipped: int = 0
    told: int = 0
    """Mails to the customer."""

    @property
    def is_settled(self) -> bool:
        """Nobody owes anybody anything: all money is back, or was paid for goods that went out and stayed out."""
        kept = self.charged - self.refunded
        return kept == 0 or (kept == self.charged and self.shipped == 1 and self.held > 0)


class Town:
    """Runs the services while its `with` block lasts, and tells the activities where they are."""

    def __init__(self, directory: Path, **stock: int) -> None:
        self._directory = directory
        self._stock = stock
        self._stack = ExitStack()

    def __enter__(self) -> Town:
        with self._stack:
            self.bank = self._stack.enter_context(start_bank(self._directory / "bank.db"))
            self.warehouse = self._stack.enter_context(start_service("inventory", self._directory / "inventory.db"))
            self.carrier = self._stack.enter_context(start_service("shipping", self._directory / "shipping.db"))
            self.warehouse.client.post("/stock", {"order_id": "opening", "quantities": self._stock}, key="opening")
            self._stack = self._stack.pop_all()
        os.environ.update(self.environment)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """Where the services are, and their ledgers."""
        return {
            PAYMENTS_URL: self.bank.client.url,
            INVENTORY_URL: self.warehouse.client.url,
            SHIPPING_URL: self.carrier.client.url,
            LEDGERS_AT: str(self._directory),
        }

    def money_arrives(self, order_id: str) -> dict[str, str]:
        """What the bank tells the shop then. Raises Refused when the order owes nothing."""
        return self.bank.client.post("/settle", {"order_id": order_id})

    def on_hand(self, sku: str) -> int:
        return int(self.warehouse.client.get("/stock")[sku]["on_hand"])

    def books(self, order_id: str) -> Books:
        """The auditor's word on an order."""
        return read_books(self._directory).get(order_id, Books())

    def shelves_agree(self) -> bool:
        """Whether everything that was delivered is on hand, or held for an order."""
        delivered = on_hand = 0
        for shelf in self.warehouse.client.get("/stock").values():
            delivered += shelf["delivered"]
            on_hand += shelf["on_hand"]
        return delivered == on_hand + sum(books.held for books in read_books(self._directory).values())


LEDGERS_AT = "PERDURE_FULFILMENT_LEDGERS"
"""The environment variable that tells the reconciliation where the ledgers are."""


def start_bank(ledger: Path) -> Service:
    process = Process(str(Path(__file__).with_name("bank.py")), "--ledger", str(ledger), "--leave-with-parent")
    return Service(process, ledger, ServiceClient(process.wait_line("ready ")))


_QUERIES = {
    "bank.db": (
        ("charged", "SELECT order_id, sum(amount_cents) FROM payments WHERE state = 'settled' GROUP BY 1"),
        ("refunded", "SELECT order_id, sum(amount_cents) FROM refunds GROUP BY 1"),
    ),
    "inventory.db": (("held", "SELECT order_id, sum(quantity) FROM reservations WHERE NOT released GROUP BY 1"),),
    "shipping.db": (
        ("shipped", "SELECT order_id, count(*) FROM shipments GROUP BY 1"),
        ("told", "SELECT order_id, count(*) FROM notifications GROUP BY 1"),
    ),
}


def read_books(directory: Path) -> dict[str, Books]:
    """All orders that any ledger knows."""
    found: dict[str, Books] = {}
    for ledger, queries in _QUERIES.items():
        with closing(open_for_reading(directory / ledger)) as db:
            for field, query in queries:
                for order_id, value in db.execute(query):
                    found[order_id] = found.get(order_id, Books())._replace(**{field: value})
    return found
