"""Every day somebody compares the ledgers: who was charged, and has neither goods nor money?

The list is made from the ledgers alone: a mistake of the engine, or of the workflow's author, would be on it. An
order that waits for a person's decision is on it until that is made.
"""

from __future__ import annotations

import os
from pathlib import Path

from fulfilment.town import LEDGERS_AT, read_books
from perdure import activity, call, workflow
from perdure.demo.services.client import SHIPPING_URL, ServiceClient


@activity(start_to_close_timeout="10m")
def charged_and_neither_fulfilled_nor_refunded() -> list[str]:
    books = read_books(Path(os.environ[LEDGERS_AT]))
    return sorted(order_id for order_id, of_order in books.items() if not of_order.is_settled)


@activity(start_to_close_timeout="30s")
def tell_accounting(today: str, since: dict[str, str]) -> None:
    text = ", ".join(f"order {order_id} since {day}" for order_id, day in since.items()) or "all orders are settled"
    letter = {"order_id": f"reconciliation {today}", "customer": "accounting", "text": text}
    ServiceClient(os.environ[SHIPPING_URL]).post("/notify", letter, activity.info().idempotency_key)


@workflow
class Reconciliation:
    """Without end: when its history has become long it goes on as a new run of the same id."""

    def __init__(self, since: dict[str, str]) -> None:
        self.since = since

    @workflow.run
    def run(self, since: dict[str, str]) -> None:
        while not workflow.info().continue_as_new_suggested:
            workflow.sleep(days=1)
            unsettled = call(charged_and_neither_fulfilled_nor_refunded)
            today = workflow.now().date().isoformat()
            self.since = {order_id: self.since.get(order_id, today) for order_id in unsettled}
            call(tell_accounting, today, self.since)
        workflow.continue_as_new(self.since)

    @workflow.query
    def unsettled(self) -> dict[str, str]:
        """Orders, and the day since when they have been on the list."""
        return self.since
